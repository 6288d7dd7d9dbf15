"""What the columns of a table of texts are, found by their names and by the first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from manta.data.labels import whole_number
from manta.data.names import shown
from manta.data.sources._base import Label, SourceOptions
from manta.data.sources._lists import DELIMITED, SAMPLE, best_separator, in_words, text_of_list
from manta.data.sources._row_parts import column_of_parts
from manta.data.sources._text import LONGEST, bounded_lines, encoding_of
from manta.data.sources._text_rows import Row, text_rows
from manta.data.sources._values import word_label
from manta.data.sources._words import (
    FOLDERS,
    NO_LABELS,
    SPLITS,
    TEXT_LABELS,
    TEXTS,
    normal,
    usual,
)
from manta.errors import DataError, did_you_mean
from manta.files import Place

FIRST, LAST = "first", "last"
"""What `data.labels` may say of a table without a header, and of lines."""
_LONG_LABEL = 60
_SHOWN, _LOOKED_AT = 12, 100_000


@dataclass(frozen=True, slots=True)
class TextForm:
    """How the rows of a table are read.

    Attributes:
        names: of the columns; numbers from 1 without a header.
        texts: places of the columns of texts.
        label, split, group: places of these columns, if there are any.
        skipped: rows of the header.
        notes: on what was understood.
        last: of the places of columns that are read.
    """

    names: list[str]
    texts: tuple[int, ...]
    separator: str
    encoding: str | None
    label: int | None = None
    split: int | None = None
    group: int | None = None
    skipped: int = 0
    notes: tuple[str, ...] = ()
    last: int = 0

    def wrong(self, cells: list[str]) -> str | None:
        """Return why a row cannot be read: it has more or fewer cells than the others."""
        width = len(self.names)
        has = len(cells)
        while has > width and not cells[has - 1]:
            has -= 1  # separators at the end of a line
        if has > width or has <= self.last:
            cells_of = f"{has} cell{'s'[: has - 1]}"
            return f"has {cells_of}, and the {'header' if self.skipped else 'others'} {width}"
        return None

    def label_of(self, cells: Sequence[str]) -> Label:
        """Return the label of a row that is not wrong."""
        return None if self.label is None else word_label(in_words(cells[self.label]))

    def split_of(self, cells: Sequence[str]) -> str:
        """Return what a row's column of splits says; empty where there is none."""
        return "" if self.split is None else in_words(cells[self.split])

    def group_of(self, cells: Sequence[str]) -> str | None:
        """Return the group of a row that is not wrong."""
        return None if self.group is None else in_words(cells[self.group]) or None


def form_of(place: Place, options: SourceOptions) -> TextForm:
    """Return the form of a table, from its first rows.

    Raises:
        DataError: it is no text or has no rows, or a column that was asked for is not there.
    """
    encoding = encoding_of(options)
    separator = _separator(place, encoding)
    rows = _first_rows(place, separator, encoding)
    if not rows:
        raise DataError(f"{place.url} has no rows; give a table that has some")
    header = _header(rows, options)
    body = rows[1:] if header else rows
    width = len(header) if header else _commonest([len(row) for row in body])
    names = header or [str(number) for number in range(1, width + 1)]
    _refuse_doubled(names, options, place)
    columns = {name: [row[at] for row in body if at < len(row)] for at, name in enumerate(names)}
    texts, others = _texts(names, columns, options, place)
    rest = {name: columns[name] for name in columns if name not in texts}
    asked = options.group_column
    group = None if asked is None else names[_place(names, asked, "data.group", place)]
    told, unclear = column_of_parts(rest if header else {})
    known = {group, told}
    label = _label(names, {n: c for n, c in rest.items() if n not in known}, options, place)
    also = f" (also: {', '.join(others)}; data.column chooses)" if others else ""
    of_width = "" if header else f" of {width}"
    notes = [f"text: column {', '.join(texts)}{of_width}{also}"]
    if label is not None:
        notes.append(f"labels: column {label}{of_width}")
    places = {name: at for at, name in enumerate(names)}
    return TextForm(
        names,
        tuple(places[name] for name in texts),
        separator,
        encoding,
        label=None if label is None else places[label],
        split=None if told is None else places[told],
        group=None if group is None else places[group],
        skipped=1 if header else 0,
        notes=(*notes, *unclear),
        last=max(places[name] for name in (*texts, label, told, group) if name is not None),
    )


def body_of(place: Place, form: TextForm) -> islice[Row]:
    """Return the rows of a table below its header."""
    return islice(text_rows(place, form.separator, form.encoding), form.skipped, None)


def _first_rows(place: Place, separator: str, encoding: str | None) -> list[list[str]]:
    """Return the first rows, fewer where they are long."""
    rows, size = [], 0
    for _, cells in islice(text_rows(place, separator, encoding), SAMPLE):
        if isinstance(cells, list):
            rows.append(cells)
            size += sum(map(len, cells))
        if size > LONGEST:
            break
    return rows


def _separator(place: Place, encoding: str | None) -> str:
    with text_of_list(place, encoding=encoding) as text:
        first = (line for _, line in bounded_lines(text) if line and line.strip())
        lines = [line[:_LOOKED_AT].rstrip("\n") for line in islice(first, SAMPLE)]
    usual = DELIMITED.get(place.suffix, "\t")
    return best_separator(lines, usual) or usual


def _header(rows: list[list[str]], options: SourceOptions) -> list[str]:
    """Return the names of the columns if the first row holds them, else an empty list."""
    first = rows[0]
    names = {normal(cell) for cell in first}
    asked = [options.column, options.labels, options.group_column]
    wanted = {normal(one) for text in asked if text for one in text.split(",")}
    wanted = {one for one in wanted if one and whole_number(one) is None}
    is_named = bool(names & {*TEXTS, *TEXT_LABELS, *SPLITS, *wanted})
    is_above = any(
        cell and not _is_number(cell) and _are_numbers(at, rows[1:])
        for at, cell in enumerate(first)
    )
    are_short = all(len(cell) <= _LONG_LABEL for cell in first)
    is_header = are_short and (is_named or is_above)
    return [shown(in_words(cell)) for cell in first] if is_header else []


def _are_numbers(at: int, rows: list[list[str]]) -> bool:
    cells = [row[at] for row in rows if at < len(row) and row[at]]
    return bool(cells) and all(map(_is_number, cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _texts(
    names: list[str], columns: dict[str, list[str]], options: SourceOptions, place: Place
) -> tuple[list[str], list[str]]:
    """Return the columns to read, and others that hold texts too."""
    if options.column is not None:
        asked = [options.column] if options.column in names else options.column.split(",")
        places = [_place(names, one.strip(), "data.column", place) for one in asked]
        return [names[at] for at in places], []
    named = usual(columns, TEXTS)
    if named:
        return named[:1], named[1:]
    words = {name: cells for name, cells in columns.items() if normal(name) not in TEXT_LABELS}
    lengths = {name: sum(map(len, cells)) / max(len(cells), 1) for name, cells in words.items()}
    longest = max(lengths.values(), default=0.0)
    texts = [name for name in words if 2 * lengths[name] >= longest] or names
    return texts[:1], texts[1:]


def _label(
    names: list[str], rest: dict[str, list[str]], options: SourceOptions, place: Place
) -> str | None:
    """Return the column of the labels: the one that is asked for, or one of few short words."""
    asked = options.labels
    if asked in (NO_LABELS, FOLDERS):
        return None
    if asked in (FIRST, LAST) and asked not in names:
        return names[0 if asked == FIRST else -1]
    if asked is not None:
        return names[_place(names, asked, "data.labels", place)]
    if names != [str(number) for number in range(1, len(names) + 1)]:
        named = usual(rest, TEXT_LABELS)
        return named[0] if named else None
    return next((name for name, cells in rest.items() if _are_classes(cells)), None)


def _are_classes(cells: list[str]) -> bool:
    """Return whether the cells of a column without a name are a few short words, or numbers."""
    there = [cell for cell in cells if cell]
    is_short = all(len(cell) <= _LONG_LABEL for cell in there)
    is_whole = all(not _is_number(cell) or float(cell) % 1 == 0 for cell in there)
    is_usual = 2 * len(set(there)) <= max(len(there), 4)
    return 2 * len(there) > len(cells) and is_short and is_whole and is_usual


def _place(names: list[str], asked: str, setting: str, place: Place) -> int:
    """Return the place of a column by its name."""
    same = [at for at, name in enumerate(names) if name == asked]
    same = same or [at for at, name in enumerate(names) if normal(name) == normal(asked)]
    if same:
        return same[0]
    hint = did_you_mean(asked, names[:_SHOWN])
    raise DataError(f"{setting}: {place.url} has no column {asked!r}{hint}")


def _refuse_doubled(names: list[str], options: SourceOptions, place: Place) -> None:
    """Check that no column that might be chosen has a name that another one has too.

    Raises:
        DataError: one has.
    """
    column = (options.column or "").split(",")
    wanted = {*TEXTS, *TEXT_LABELS, *SPLITS, *column, options.labels, options.group_column}
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and (name in wanted or normal(name) in wanted):
            raise DataError(f"{place.url} has two columns named {name!r}; rename one of them")


def _commonest(widths: list[int]) -> int:
    return max(sorted(set(widths)), key=widths.count)
