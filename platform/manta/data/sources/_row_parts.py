"""Parts of a dataset that the rows of a table or list tell, by a column such as `split`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manta.data.names import first_names
from manta.data.sources._layout import ALL, TEST, TRAIN, VALIDATION, split_of
from manta.data.sources._words import SPLITS, normal, usual

_HELD_OUT = ("hold_out", "heldout", "held_out", "privatetest")
_MORE = {**dict.fromkeys(_HELD_OUT, TEST), "publictest": VALIDATION}
"""What values of a column say beside the names of folders; the last ones are those of FER2013."""
_FLAGS = {
    **dict.fromkeys(("is_train", "is_training", "is_training_image"), (TRAIN, TEST)),
    **dict.fromkeys(("is_valid", "is_val", "is_validation"), (VALIDATION, TRAIN)),
    **dict.fromkeys(("is_test", "is_testing"), (TEST, TRAIN)),
}
"""Columns of yes or no, and the parts of a row that says yes and of one that says no."""
FLAGS = tuple(_FLAGS)
_YES, _NO = ("1", "true"), ("0", "false")

Value = tuple[str, str]
"""Column and value of a row; the value is empty where there is none."""


@dataclass(frozen=True, slots=True)
class RowParts:
    """Parts that values tell.

    Attributes:
        told: part of the rows with each value.
        parts: values by part, training first; empty: the rows are all of one part.
        notes: what was understood, if it is not what one would expect.
    """

    told: dict[Value, str] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def values(self, column: str, part: str) -> frozenset[str]:
        """Return the values of a column whose rows are of a part."""
        told = self.told.items()
        return frozenset(value for (name, value), its in told if name == column and its == part)


def part_of_value(column: str, value: str) -> str | None:
    """Return the part that a value of a column tells, or None."""
    flag = _FLAGS.get(_last(column))
    if flag is not None:
        said = value.lower()
        return flag[0] if said in _YES else flag[1] if said in _NO else None
    return _MORE.get(normal(value)) or split_of(value)


def divide_rows(values: Iterable[Value], asked: str | None) -> RowParts:
    """Return the parts of rows with these values.

    Rows without a value are of the training part. So are those whose value tells none if there are
    no other training rows, else they are left out.

    Args:
        asked: part that the user wants.
    """
    found = sorted(set(values))
    known = {one: part for one in found if (part := part_of_value(*one)) is not None}
    empty, unsaid = (
        [one for one in found if one not in known and bool(one[1]) == filled]
        for filled in (False, True)
    )
    if not known:
        return RowParts(notes=_notes(unsaid, "column {} is not understood as a split: {}"))
    told = known | dict.fromkeys(empty, TRAIN)
    if TRAIN not in told.values():
        told |= dict.fromkeys(unsaid, TRAIN)
        notes = _notes(unsaid, "read as training rows: those whose {} is {}")
    else:
        notes = () if asked == ALL else _notes(unsaid, "left out: rows whose {} is {}")
    parts: dict[str, list[str]] = {}
    for part in dict.fromkeys((TRAIN, VALIDATION, TEST, *told.values())):
        of_part = sorted({value for (_, value), its_part in told.items() if its_part == part})
        if of_part:
            parts[part] = of_part
    several = len(parts) > 1 or len(told) < len(found) or asked is not None
    return RowParts(told, parts, notes) if several else RowParts()


def column_of_parts(columns: Mapping[str, Sequence[Any]]) -> tuple[str | None, tuple[str, ...]]:
    """Return the column of a list that tells the part of each row, and a note on one that might.

    Args:
        columns: some of the values of each column.
    """
    named, flags = usual(columns, SPLITS), usual(columns, FLAGS)
    if named:
        return named[0], ()
    said = {str(value).lower() for flag in flags for value in columns[flag]}
    if len(flags) == 1 and said <= {"true", "false", ""}:
        return flags[0], ()
    return None, tuple(not_understood(flag) for flag in flags[:1])


def not_understood(column: str) -> str:
    """Return a note on a column that might tell the part of each row."""
    return (
        f"column {column} is not understood as a split: it says neither train and test nor true "
        "and false"
    )


def _last(column: str) -> str:
    return normal(column.rpartition(".")[2])


def _notes(values: list[Value], said: str) -> tuple[str, ...]:
    by_column: dict[str, list[str]] = {}
    for column, value in values:
        by_column.setdefault(column, []).append(value)
    return tuple(said.format(column, first_names(found)) for column, found in by_column.items())
