"""Sources of files whose rows hold texts: CSV and JSON lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from manta.data.sources._base import Label, Sample
from manta.data.sources._layout import TRAIN
from manta.data.sources._listing import Listed
from manta.data.sources._row_parts import RowParts, divide_rows
from manta.data.sources._text import TextFiles, text_sample
from manta.data.sources._words import FOLDERS
from manta.errors import DataError
from manta.files import Place

_COLUMN = "split"


@dataclass(frozen=True, slots=True)
class TextRow:
    """Row of a file.

    Attributes:
        number: its first line, or its place among the records, from 1.
        texts: one of each column that is read; None where there is none.
        split: what the column of splits says; None: there is no such column.
        reason: why the row cannot be read.
    """

    number: int
    texts: tuple[str | None, ...] = ()
    label: Label = None
    group: str | None = None
    split: str | None = None
    reason: str | None = None


class TextRows(TextFiles):
    """Source of files with a text, or several, in each row."""

    has_columns = True

    @abstractmethod
    def rows(self, place: Place) -> Iterator[TextRow]:
        """Yield the rows of a file.

        Raises:
            DataError: it cannot be read.
        """

    @abstractmethod
    def split_column(self, place: Place) -> str | None:
        """Return the column of a file that tells the part of each row, if there is one."""

    def units(self) -> Iterator[Listed]:
        files = self._candidates()
        for file in files[:1]:
            self.split_column(file.place)  # refuses a column that is not there, in one line
        yield from files

    def read(self, unit: Listed) -> Iterator[Sample]:
        part = None if TextFiles.parts(self) else self.chosen_part()
        try:
            column = self.split_column(unit.place)
            for row in self.rows(unit.place):
                if part is None or self._part_of(column, row) == part:
                    yield from self._samples(unit, row)
        except DataError as error:
            yield Sample(unit.name, None, None, " ".join(str(error).split()))

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that files tell, or a column such as `split`."""
        return super().parts() or self._row_parts.parts

    def notes(self) -> list[str]:
        """Return what was understood of the parts."""
        return [] if super().parts() else list(self._row_parts.notes)

    def _candidates(self) -> list[Listed]:
        return self.chosen_files() if TextFiles.parts(self) else self.listed

    @cached_property
    def _row_parts(self) -> RowParts:
        """Return the parts that columns tell."""
        values: set[tuple[str, str]] = set()
        for file in self.listed:
            try:
                column = self.split_column(file.place)
                rows = iter(()) if column is None else self.rows(file.place)
                values.update((column or _COLUMN, row.split or "") for row in rows)
            except DataError:
                continue  # reading the file gives the reason
        return divide_rows(values, self.options.split)

    def _part_of(self, column: str | None, row: TextRow) -> str | None:
        if column is None or row.reason is not None:
            return TRAIN
        return self._row_parts.told.get((column, row.split or ""))

    def _samples(self, file: Listed, row: TextRow) -> Iterator[Sample]:
        path = f"{file.name}#{row.number}"
        label = file.folder if self.options.labels == FOLDERS else row.label
        if row.reason is not None:
            yield Sample(path, None, label, row.reason, row.group)
        for number, text in enumerate(row.texts):
            name = f"{path}.{number}" if len(row.texts) > 1 else path
            yield text_sample(name, text, label, row.group)
