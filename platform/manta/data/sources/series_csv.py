"""Source of series in CSV: a series a row, or a value a row with windows cut from recordings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from manta.data.sources._base import SOURCES, Label, Sample
from manta.data.sources._listing import Listed, claimed
from manta.data.sources._lists import delimited_rows, in_words, separator_of
from manta.data.sources._series import (
    SeriesFiles,
    Windows,
    number,
    numbers,
    windows_of,
)
from manta.data.sources._series_form import Form, form_of
from manta.errors import DataError
from manta.files import Place
from manta.modalities import BadSample

_LOOKED_AT = 200


@SOURCES.register("series_csv")
class SeriesCSV(SeriesFiles):
    """CSV or TSV of numbers, with a header or without.

    Wide: a series a row, with a column of labels first, last, or named by `data.labels`. Long: a
    point in time a row, with columns of time and of recordings (`data.time`, `data.id`), or one
    recording, which `data.window` cuts.
    """

    kind = "series_csv"
    endings = (".csv", ".tsv", ".txt")
    has_columns = True

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if claimed(place, cls.endings) else 0  # images may be in such files too

    def units(self) -> Iterator[Listed]:
        yield from self.chosen_files()

    def read(self, unit: Listed) -> Iterator[Sample]:
        try:
            form = self._form(unit.place)
        except DataError as error:
            yield Sample(unit.name, None, None, str(error))
            return
        yield from (self._long if form.is_long else self._wide)(unit, form)

    def notes(self) -> list[str]:
        """Return what was understood of the columns of the first file."""
        return self._form(self.listed[0].place).notes

    def _form(self, place: Place) -> Form:
        separator = self._separator(place)
        rows = [cells for _, cells in islice(delimited_rows(place, separator), _LOOKED_AT)]
        return form_of(rows, self.options, place)

    def _separator(self, place: Place) -> str:
        return separator_of(place) or ","

    def _rows(self, place: Place, form: Form) -> Iterator[tuple[int, list[str]]]:
        rows = delimited_rows(place, self._separator(place))
        yield from islice(rows, 1 if form.header else 0, None)

    def _wide(self, unit: Listed, form: Form) -> Iterator[Sample]:
        windows = Windows.of(self.options)
        width = len(form.header) if form.header else None
        for line, cells in self._rows(unit.place, form):
            path, label = f"{unit.name}#{line}", form.label_of(cells)
            group = form.group_of(cells)
            if width is not None and len(cells) > width:
                reason = f"has {len(cells)} cells, and the header {width}"
                yield Sample(path, None, label, reason, group)
                continue
            try:
                values = numbers(form.values_of(cells))
            except BadSample as error:
                yield Sample(path, None, label, str(error), group)
                continue
            named = [label] * len(values)
            yield from windows_of(path, values[:, None], named, windows, group=group)

    def _long(self, unit: Listed, form: Form) -> Iterator[Sample]:
        windows = Windows.of(self.options)
        if form.id is None and windows.length is None:
            reason = "is one recording; set data.window to the values that make a row"
            yield Sample(unit.name, None, None, reason)
            return
        names = tuple(form.header[place] for place in form.values)
        for recording, lines in self._recordings(unit.place, form).items():
            values, labels, groups, wrong = _columns(lines, form)
            path = f"{unit.name}#{recording}" if recording else unit.name
            if wrong is not None:
                yield Sample(path, None, None, wrong)
                continue
            group: Label = groups[0] if form.group is not None else recording or None
            yield from windows_of(path, values, labels, windows, names=names, group=group)

    def _recordings(self, place: Place, form: Form) -> dict[str, list[list[str]]]:
        """Return the rows of each recording, in the order of time."""
        recordings: dict[str, list[list[str]]] = {}
        for _, cells in self._rows(place, form):
            if len(cells) < len(form.header):
                cells = [*cells, *[""] * (len(form.header) - len(cells))]
            recordings.setdefault("" if form.id is None else cells[form.id], []).append(cells)
        if form.time is not None:
            for rows in recordings.values():
                rows.sort(key=lambda cells: _instant(cells[form.time or 0]))
        return recordings


def _columns(
    rows: list[list[str]], form: Form
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[Label], list[Label], str | None]:
    """Return values `[T, C]`, labels and groups of a recording, and why it cannot be used."""
    try:
        cells = [[number(row[place]) for place in form.values] for row in rows]
    except ValueError as error:
        return np.zeros((0, 1)), [], [], f"holds something that is no number: {error}"[:120]
    labels = [form.label_of(row) for row in rows] if form.label is not None else []
    groups = [form.group_of(row) for row in rows]
    return np.array(cells, dtype=np.float64), labels, groups, None


def _instant(cell: str) -> tuple[int, float, str]:
    """Return what times are sorted by: numbers as numbers, dates as text."""
    try:
        return 0, number(cell), ""
    except ValueError:
        return 1, 0.0, in_words(cell)
