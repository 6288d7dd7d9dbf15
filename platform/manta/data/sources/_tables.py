"""Sources of tables: what Parquet and Arrow files have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from manta.data.labels import told_apart
from manta.data.names import first_names, shown
from manta.data.sources._base import Label, Sample, SourceOptions
from manta.data.sources._columns import Columns, NoImages, choose
from manta.data.sources._layout import TRAIN
from manta.data.sources._listing import Files, Listed, beside_images, claimed
from manta.data.sources._resolve import read_named
from manta.data.sources._row_parts import RowParts, Value, divide_rows
from manta.data.sources._table import (
    BrokenTable,
    Surveyed,
    Table,
    TableUnit,
    about_columns,
    column_of,
    distinct,
    texts_of,
    whole,
)
from manta.data.sources._values import Cell, cells, label_of, labels
from manta.data.sources._words import FOLDERS, LABELS, NO_LABELS, normal
from manta.errors import DataError
from manta.files import Place

_ROWS_AT_ONCE = 64
_FOOTERS_AT_ONCE = 16


class Tables(Files):
    """Source of one table or many, whose columns are chosen by name and type."""

    noun: ClassVar[str]
    what: ClassVar[str] = "images"
    """What the column of samples holds."""
    has_columns = True

    @classmethod
    def claim(cls, place: Place) -> int:
        if not claimed(place, cls.endings):
            return 0
        mixed = beside_images(place, cls.endings)
        if mixed is None:
            return 2
        surveyed = cls(place / mixed[0])._survey(Listed(place / mixed[0], mixed[0]))
        if surveyed.columns is None:
            return 0  # photographs, and a table about something else
        if surveyed.columns.is_path:
            return 2  # photographs, and the table that describes them
        pattern = f"{place.url}/*{cls.endings[0]}"
        raise DataError(
            f"{place.url} holds {cls.noun} files ({mixed[0]}) and image files ({mixed[1]}); move "
            f"one kind into a folder of its own, or read the tables by '{pattern}'"
        )

    @contextmanager
    @abstractmethod
    def opened(self, place: Place) -> Iterator[Table]:
        """Yield an open table.

        Raises:
            DataError: it is broken; the message is the reason alone.
        """

    def columns_of(self, schema: Any, options: SourceOptions, where: str) -> Columns:
        """Return the columns of a table to read; see `choose`."""
        return choose(schema, options, where)

    def cells_of(self, column: Any) -> Iterator[list[Cell]]:
        """Yield the samples of each row of an Arrow array."""
        return cells(column)

    @cached_property
    def surveyed(self) -> list[Surveyed]:
        """Return what the footers of the files to read say.

        Raises:
            DataError: the only file is broken, or no file has images.
        """
        files = self._candidates()
        if self.place.is_local:
            found = [self._survey(file) for file in files]
        else:
            with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
                found = list(pool.map(self._survey, files))
        broken = next((one for one in found if one.reason), None)
        empty = next((one for one in found if one.error), None)
        if len(found) == 1 and broken is not None:
            raise DataError(f"{broken.file.place.url} is {broken.reason}")
        if empty is not None and all(one.columns is None for one in found):
            raise DataError(str(empty.error))
        if broken is None and not any(sum(one.groups) for one in found):
            raise DataError(f"{self.place.url} has no rows; give a table that has some")
        return found

    def units(self) -> Iterator[TableUnit]:
        for one in self._read:
            columns = one.columns
            if columns is None:
                yield TableUnit(one.file, None, reason=one.reason)
                continue
            values = self._values_to_read(columns)
            numbers, words = self._renaming(columns.names)
            names = self._names_of_numbers if columns.is_numbered and not columns.names else None
            light = replace(columns, names=words)
            first = 0
            for group, count in self.spans(one.groups):
                yield TableUnit(one.file, light, group, count, first, values, numbers, names)
                first += sum(one.groups[group : group + count])

    def spans(self, groups: list[int]) -> Iterator[tuple[int, int]]:
        """Yield `(first group, groups)` of each unit of a file."""
        yield from ((group, 1) for group in range(len(groups)))

    def read(self, unit: TableUnit) -> Iterator[Sample]:
        file, columns, row = unit.file, unit.columns, unit.row
        if columns is None:
            yield Sample(file.name, None, None, unit.reason)
            return
        with self.opened(file.place) as table:
            batches = table.batches(unit.group, unit.count, columns.read, _ROWS_AT_ONCE)
            for batch in whole(batches):
                if isinstance(batch, str):
                    yield Sample(f"{file.name}#{row}", None, None, batch)
                    return
                splits = texts_of(batch, columns.split)
                images = self.cells_of(column_of(batch, columns.image))
                groups = self._groups(file, columns, batch)
                for of_row, label, split, group in zip(
                    images, self._labels(unit, columns, batch), splits, groups, strict=True
                ):
                    if unit.values is None or (split or "") in unit.values:
                        if len(of_row) == 1 and of_row[0].data is not None:  # the usual case
                            path = of_row[0].path or f"{file.name}#{row}"
                            yield Sample(path, of_row[0].data, label, of_row[0].reason, group)
                        else:
                            yield from self._samples(file, row, of_row, label, group)
                    row += 1

    def classes(self) -> list[str] | None:
        """Return the names of the classes that the tables declare, those of the first one first."""
        return self._class_names

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that files tell, or a column such as `split`."""
        of_files = super().parts()
        return of_files or self._row_parts.parts

    def notes(self) -> list[str]:
        """Return what was understood of the columns, and which files were left out."""
        used = [one for one in self._read if one.columns is not None]
        notes = about_columns(used[0].columns, self.what) if used and used[0].columns else []
        kinds: dict[tuple[str, str], str] = {}
        for one in used:
            if one.columns is not None:
                key = one.columns.image, one.columns.label or "no labels"
                kinds.setdefault(key, shown(one.file.name))
        notes += [
            f"other columns in {name}: {image}, {label}"
            for (image, label), name in list(kinds.items())[1:3]
        ]
        numbered = [one for one in self._unnamed if one.columns and one.columns.is_numbered]
        if numbered and self._declared:
            name = shown(numbered[0].file.name)
            notes.append(f"labels of {name} are numbers: read as places among the names of others")
        notes += self._row_parts.notes if not Files.parts(self) else ()
        left_out = [shown(one.file.name) for one in self.surveyed if one.error is not None]
        left_out += self.left_out()
        return [*notes, f"left out: {first_names(left_out)}"] if left_out else notes

    @cached_property
    def _read(self) -> list[Surveyed]:
        return [one for one in self.surveyed if one.error is None]

    @cached_property
    def _row_part(self) -> str | None:
        """Return the part whose rows are read; None if all are."""
        if Files.parts(self):
            return None
        return self.chosen_part()

    @cached_property
    def _row_parts(self) -> RowParts:
        """Return the parts that columns tell."""
        values: set[Value] = set()
        for one in self._read:
            column = one.columns.split if one.columns is not None else None
            if column is not None:
                found = self._distinct(one, column)
                values.update((column, "" if value is None else str(value)) for value in found)
        return divide_rows(values, self.options.split)

    def _values_to_read(self, columns: Columns) -> frozenset[str] | None:
        """Return the values of a file's column of splits to read; None: all rows are read.

        A file without such a column holds training rows.
        """
        part = self._row_part
        if part is None or (columns.split is None and part == TRAIN):
            return None
        return self._row_parts.values(columns.split or "", part)

    def _distinct(self, one: Surveyed, column: str) -> set[Label]:
        with self.opened(one.file.place) as table:
            return distinct(table, column, len(one.groups))

    @cached_property
    def _declared(self) -> dict[str, str]:
        """Return the names that tables declare, by what tells them apart.

        The second "crane" of ImageNet is another class than the first.
        """
        known: dict[str, str] = {}
        for one in self._read:
            names = one.columns.names if one.columns is not None else None
            known.update(zip(told_apart(names or []), names or (), strict=True))
        return known

    @cached_property
    def _unnamed(self) -> list[Surveyed]:
        """Return the files whose labels have no names."""
        return [one for one in self._read if one.columns is not None and self._lacks_names(one)]

    def _lacks_names(self, one: Surveyed) -> bool:
        if one.columns is None or one.columns.names is not None:
            return False
        return one.columns.label is not None or self._folder_label(one.file) is not None

    @cached_property
    def _class_names(self) -> list[str] | None:
        count = len(self._declared)
        for one in self._unnamed if self._declared else ():
            if one.columns is None or one.columns.label is None or not one.columns.is_numbered:
                return None
            numbers = self._distinct(one, one.columns.label)
            if any(isinstance(number, int) and number >= count for number in numbers):
                return None
        return list(self._declared.values()) or None

    @cached_property
    def _names_of_numbers(self) -> list[str] | None:
        """Return what labels that are plain numbers are called, if others are words."""
        return list(self._declared) if self._class_names is None and self._declared else None

    def _candidates(self) -> list[Listed]:
        """Return the files of the part to read, if names of files tell parts."""
        if not Files.parts(self):
            return self.listed
        return self.chosen_files()

    def _survey(self, file: Listed) -> Surveyed:
        try:
            with self.opened(file.place) as table:
                options = self.options
                if options.labels is not None and options.labels in file.keys:
                    options = replace(options, labels=NO_LABELS)  # its folders tell them
                if options.group in file.keys:
                    options = replace(options, group=None)
                columns = self.columns_of(table.schema, options, file.place.url)
                return Surveyed(file, table.groups, self._with_folders(columns, file))
        except NoImages as error:
            return Surveyed(file, [], None, error=str(error))
        except (BrokenTable, OSError, pa.ArrowException, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            return Surveyed(file, [], None, reason=f"not a readable {self.noun} file: {reason}")

    def _with_folders(self, columns: Columns, file: Listed) -> Columns:
        """Return the columns without labels if the file's folders tell them."""
        has_folder_label = columns.label is None and self._folder_label(file) is not None
        return replace(columns, unused=None) if has_folder_label else columns

    def _folder_label(self, file: Listed) -> Label:
        """Return the label that folders such as `label=cat` give to all rows of a file."""
        asked = self.options.labels
        if asked == FOLDERS:
            return file.folder
        keys = {normal(key): value for key, value in file.keys.items()}
        names = LABELS if asked is None else () if asked == NO_LABELS else (normal(asked),)
        return label_of(next((keys[name] for name in names if name in keys), None))

    def _renaming(self, names: list[str] | None) -> tuple[list[int] | None, list[str] | None]:
        """Return how a file's own positions become labels: new positions, or names.

        `(None, None)` if they are the labels already.
        """
        if names is None or names == self._class_names:
            return None, None
        if self._class_names is None:
            return None, told_apart(names)
        order = {name: place for place, name in enumerate(self._declared)}
        return [order[name] for name in told_apart(names)], None

    def _labels(self, unit: TableUnit, columns: Columns, batch: Any) -> list[Label]:
        if columns.label is None:
            return [self._folder_label(unit.file)] * batch.num_rows
        found = labels(column_of(batch, columns.label))
        if unit.names is not None:
            names = dict(enumerate(unit.names))
            return [names.get(label, label) if isinstance(label, int) else label for label in found]
        renamed: list[Any] | None = unit.numbers or columns.names
        if renamed is None:
            return found
        return [
            renamed[label] if isinstance(label, int) and 0 <= label < len(renamed) else None
            for label in found
        ]

    def _groups(self, file: Listed, columns: Columns, batch: Any) -> list[str | None]:
        if columns.group is None:
            return [file.keys.get(self.options.group or "")] * batch.num_rows
        return texts_of(batch, columns.group)

    def _samples(
        self, file: Listed, row: int, images: list[Cell], label: Label, group: Label
    ) -> Iterator[Sample]:
        folders = [file.place.parent, self.place]
        for number, cell in enumerate(images):
            name = f"{file.name}#{row}" + (f".{number}" if len(images) > 1 else "")
            path = cell.path or name
            if cell.data is not None or cell.reason is not None or cell.path is None:
                yield Sample(path, cell.data, label, cell.reason, group)
            else:
                data, reason = read_named(cell.path, folders)
                yield Sample(path, data, label, reason, group)
