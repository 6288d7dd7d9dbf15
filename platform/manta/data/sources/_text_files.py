"""Sources of files whose rows hold texts: CSV and JSON lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
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


@dataclass(frozen=True, slots=True)
class TextUnit:
    """File to read.

    Attributes:
        values: those of the column of splits whose rows are read; None: all rows are.
    """

    file: Listed
    values: frozenset[str] | None = None


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

    def units(self) -> Iterator[TextUnit]:
        is_of_files = bool(TextFiles.parts(self))
        part = None if is_of_files else self.chosen_part()
        files = self.chosen_files() if is_of_files else self.listed
        self.split_column(files[0].place)  # refuses a column that is not there, in one line
        for file in files:
            yield TextUnit(file, None if part is None else self._values(file, part))

    def read(self, unit: TextUnit) -> Iterator[Sample]:
        try:
            for row in self.rows(unit.file.place):
                is_read = unit.values is None or (row.split or "") in unit.values
                if is_read or row.reason is not None:
                    yield from self._samples(unit.file, row)
        except DataError as error:
            yield Sample(unit.file.name, None, None, " ".join(str(error).split()))

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that files tell, or a column such as `split`."""
        return super().parts() or self._row_parts.parts

    def notes(self) -> list[str]:
        """Return what was understood of the parts."""
        return [] if super().parts() else list(self._row_parts.notes)

    @cached_property
    def _row_parts(self) -> RowParts:
        """Return the parts that columns tell."""
        values: set[tuple[str, str]] = set()
        for file in self.listed:
            with suppress(DataError):  # reading the file gives the reason
                column = self.split_column(file.place)
                if column is not None:
                    rows = (row for row in self.rows(file.place) if row.reason is None)
                    values.update((column, row.split or "") for row in rows)
        return divide_rows(values, self.options.split)

    def _values(self, file: Listed, part: str) -> frozenset[str] | None:
        """Return the values of a file's column of splits to read; None: all rows are read.

        A file without such a column holds training rows.
        """
        column = None
        with suppress(DataError):  # reading the file gives the reason
            column = self.split_column(file.place)
        if column is None and part == TRAIN:
            return None
        return self._row_parts.values(column or "", part)

    def _samples(self, file: Listed, row: TextRow) -> Iterator[Sample]:
        path = f"{file.name}#{row.number}"
        label = file.folder if self.options.labels == FOLDERS else row.label
        if row.reason is not None:
            yield Sample(path, None, label, row.reason, row.group)
        for number, text in enumerate(row.texts):
            name = f"{path}.{number}" if len(row.texts) > 1 else path
            yield text_sample(name, text, label, row.group)
