"""One table: its footer, a unit of its rows, and the columns of a record batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from manta.data.sources._base import Label
from manta.data.sources._columns import Columns, plain
from manta.data.sources._listing import Listed
from manta.data.sources._row_parts import not_understood
from manta.data.sources._values import labels
from manta.errors import DataError

DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Errors of reading a table that is damaged."""
_ROWS_OF_ONE_COLUMN = 65_536


class BrokenTable(DataError):
    """A table that cannot be read; the message is only the reason."""


class Table(ABC):
    """Open table of one file, which is read by groups of rows."""

    schema: Any

    @property
    @abstractmethod
    def groups(self) -> list[int]:
        """Return the rows of each group."""

    @abstractmethod
    def batches(self, first: int, count: int, columns: list[str], rows: int) -> Iterator[Any]:
        """Yield record batches of up to `rows` rows of some groups, with at least these columns."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a table's footer says.

    Attributes:
        columns: None: it has no images, or cannot be read.
        reason: why it cannot be read.
        error: why it has no images.
    """

    file: Listed
    groups: list[int]
    columns: Columns | None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TableUnit:
    """Some groups of rows of a file, with all that is needed to read them.

    Attributes:
        columns: None: the file cannot be read.
        group, count: the first group, and how many.
        row: first row within the file.
        values: those of the column of splits whose rows are read; None: all rows are.
        numbers: labels by the positions that the file itself has; None: they are the same.
        names: of the classes, in a file whose labels are plain numbers beside others with names.
        reason: why the file cannot be read.
    """

    file: Listed
    columns: Columns | None
    group: int = 0
    count: int = 0
    row: int = 0
    values: frozenset[str] | None = None
    numbers: list[int] | None = None
    names: list[str] | None = None
    reason: str | None = None


def column_of(batch: Any, path: str) -> Any:
    """Return a column, or the field of a struct, with nulls where the struct is null."""
    names = batch.schema.names
    if path in names:
        return batch.column(path)
    head, _, rest = path.partition(".")
    column = batch.column(head)
    for part in rest.split("."):
        if plain(column.type) != column.type:
            column = column.dictionary_decode()
        column = pa.compute.struct_field(column, part)
    return column


def texts_of(batch: Any, path: str | None) -> list[str | None]:
    """Return the values of a column as text; None in each row if there is no column."""
    if path is None:
        return [None] * batch.num_rows
    return [None if value is None else str(value) for value in labels(column_of(batch, path))]


def distinct(table: Table, path: str, groups: int) -> set[Label]:
    """Return the different values of a column, without those of groups that are damaged."""
    found: set[Label] = set()
    try:
        for batch in table.batches(0, groups, [path], _ROWS_OF_ONE_COLUMN):
            found.update(labels(_unique(column_of(batch, path))))
        return found
    except DAMAGE:
        pass
    for group in range(groups):
        with suppress(*DAMAGE):
            for batch in table.batches(group, 1, [path], _ROWS_OF_ONE_COLUMN):
                found.update(labels(_unique(column_of(batch, path))))
    return found


def _unique(column: Any) -> Any:
    try:
        return pa.compute.unique(column)
    except pa.ArrowNotImplementedError:  # for this type
        return column


def whole(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches; if a page is broken, the last item is the reason, as text."""
    try:
        yield from batches
    except DAMAGE as error:
        yield f"the table is broken from here: {str(error).splitlines()[0]}"


def about_columns(columns: Columns, what: str = "images") -> list[str]:
    """Return notes on the choice of the columns, where there was one.

    Args:
        what: the column of samples holds.
    """
    notes = []
    if columns.other_images:
        others = ", ".join(columns.other_images)
        notes.append(f"{what}: {columns.image} (also: {others}; data.column chooses)")
    if columns.label is not None:
        others = ", ".join(columns.other_labels)
        also = f" (also: {others}; data.labels chooses)" if others else ""
        notes.append(f"labels: {columns.label}{also}")
    elif columns.unused is not None:
        notes.append(
            f"no labels: {columns.unused} does not hold one a row; data.labels chooses a column"
        )
    if columns.unclear is not None:
        notes.append(not_understood(columns.unclear))
    return notes
