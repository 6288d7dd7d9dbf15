"""Rows of text in CSV and TSV: quoted cells of several lines, and quotes that mean nothing."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from manta.data.sources._lists import MOST_CELL, text_of_list
from manta.data.sources._text import LONGEST, TOO_LONG, bounded_lines
from manta.files import Place

_MOST_LINES = 10_000
"""Lines of a quoted cell; a quote that is open for longer is a letter of its line."""
_STILL_OPEN = "unexpected end of data"
"""What the csv module says where a quote is not closed."""

Row = tuple[int, list[str] | str]
"""Number of the first line, from 1, and the cells; or in words why they cannot be read."""
_Line = tuple[int, str | None]


def text_rows(place: Place, separator: str, encoding: str | None) -> Iterator[Row]:
    """Yield the rows that are not empty, however many lines their quoted cells have.

    A quote that does not quote a whole cell is a letter, as is one that is never closed: the file
    is held in memory only up to there. Between tabs, a line that has as many cells as the first row
    is a row, whatever its quotes say: files with tabs are written without quoting more often.

    Raises:
        DataError: the file is no text.
    """
    csv.field_size_limit(MOST_CELL)
    with text_of_list(place, newline="", encoding=encoding) as text:
        lines, width = _Lines(bounded_lines(text)), None
        while (line := lines.next()) is not None:
            number, first = line
            if first is None:
                yield number, TOO_LONG
                continue
            cells = [cell.strip() for cell in _row(lines, first, separator, width)]
            if any(cells):
                width = width or len(cells)
                yield number, cells


class _Lines:
    """Lines of which some can be put back."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self._again: deque[_Line] = deque()

    def next(self) -> _Line | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def put_back(self, lines: list[_Line]) -> None:
        self._again.extendleft(reversed(lines))


def _row(lines: _Lines, first: str, separator: str, width: int | None) -> list[str]:
    """Return the cells of the row that begins with a line, and take the lines that belong to it.

    Args:
        width: cells of the first row; None: this is it.
    """
    literal = first.rstrip("\r\n").split(separator)
    cells, is_open = _cells([first], separator)
    if separator == "\t" and len(literal) == width != len(cells or ()):
        return literal
    taken: list[_Line] = []
    texts, size = [first], len(first)
    while is_open and len(taken) < _MOST_LINES and size < LONGEST:
        following = lines.next()
        if following is None:
            break
        taken.append(following)
        if following[1] is None:
            break
        texts.append(following[1])
        size += len(following[1])
        if '"' in following[1]:
            cells, is_open = _cells(texts, separator)
    if cells is None:
        lines.put_back(taken)
        return literal
    return cells


def _cells(texts: list[str], separator: str) -> tuple[list[str] | None, bool]:
    """Return the cells of some lines, None where quotes do not quote, and whether one is open."""
    reader = csv.reader(texts, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return next(reader, []), False
    except csv.Error as error:
        return None, _STILL_OPEN in str(error)
