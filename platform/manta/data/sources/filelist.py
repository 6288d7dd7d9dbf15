"""Source of listed image files: text, CSV or JSON with a path and perhaps a label in each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from manta.data.names import first_names, shown
from manta.data.sources import _list_form, _lists
from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Label, Sample, Source, chunks
from manta.data.sources._layout import TRAIN, divide, is_image_name, split_of
from manta.data.sources._list_rows import Entry, Form
from manta.data.sources._resolve import exists, folders_of, locate, read_named
from manta.data.sources._row_parts import RowParts, Value, divide_rows, part_of_value
from manta.data.sources._values import from_text
from manta.data.sources._words import FOLDERS, LABELS, normal
from manta.errors import DataError
from manta.files import Place

ListUnit = tuple[Place, list[Place], list[Entry]]
"""The list, the folders in which its paths begin, and some of its rows."""
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.tsv")
_TABLES_AS_TEXT = (*_lists.DELIMITED, *_lists.JSON_LINES)
_TEXTS = (*_TABLES_AS_TEXT, ".md", ".txt", ".json", "license", "readme")
_FOLDER = "folder"
_PROBED_FOLDERS = 32
_LOOKED_AT = 50
_CHECKED_FILES = 50_000
"""Listed files whose sizes and times say whether one has changed."""


@SOURCES.register("filelist")
class FileList(Source):
    """List of image files: a path per line in a `.txt`, or rows with labels in CSV or JSON lines.

    Paths are absolute, relative to the list's own folder, or URLs. Header, order, separator and
    encoding are found out; `data.column` and `data.labels` choose the columns. A folder that holds
    a `metadata.csv` or `metadata.jsonl` with a column `file_name` is read by it, as by the Hugging
    Face library.
    """

    kind = "filelist"
    has_columns = True

    @classmethod
    def claim(cls, place: Place) -> int:
        if place.is_glob or not place.is_dir():
            return 2 if place.suffix in _lists.SUFFIXES else 0
        return 2 if _lists_in(place) else 0

    def units(self) -> Iterator[ListUnit]:
        part = self.chosen_part()
        empty = True
        for place, its_part in self._lists:
            if its_part is not None and part not in (None, its_part):
                continue
            folders = self._folders(place)
            self._refuse_all_missing(place, folders)
            rows = self._entries(place)
            if its_part is None and part is not None:
                rows = (row for row in rows if self._part_of(place, row) == part)
            for chunk in chunks(rows, FILES_PER_UNIT):
                empty = False
                yield place, folders, chunk
        if empty:
            raise DataError(f"{self.place.url} names no file; write one path per line")

    def read(self, unit: ListUnit) -> Iterator[Sample]:
        place, folders, rows = unit
        above = f"{place.parent.name}/" if place.parent.parent == self.place else ""
        for row in rows:
            label = self._label(row)
            if row.reason is not None:
                yield Sample(row.path, None, label, row.reason, row.group)
                continue
            cell = from_text(row.path)
            if cell.data is not None or cell.path is None:
                name = f"{above}{place.name}#{row.number}"
                yield Sample(name, cell.data, label, cell.reason, row.group)
                continue
            data, reason = read_named(row.path, folders)
            yield Sample(f"{above}{row.path}", data, label, reason, row.group)

    def parts(self) -> dict[str, list[str]]:
        """Return the parts that folders with a list each tell, or a column such as `split`."""
        parts: dict[str, list[str]] = {}
        for place, part in self._lists:
            if part is not None:
                parts.setdefault(part, []).append(f"{place.parent.name}/{place.name}")
        if parts:
            return parts if len(parts) > 1 or self.options.split is not None else {}
        return self._row_parts.parts

    def notes(self) -> list[str]:
        """Return what was understood of the columns, and where the paths begin."""
        notes: list[str] = []
        for place, _ in self._lists[:1]:
            form = self._forms[place]
            folder = self._folders(place)[0]
            if len(form.columns) > 1 and not form.notes and form.label is not None:
                label = form.label if isinstance(form.label, str) else form.columns[form.label]
                path = form.path if isinstance(form.path, str) else form.columns[form.path]
                notes.append(f"columns: {path} ({self.called.plural}), {label} (labels)")
            notes.extend(form.notes)
            notes.extend(self._row_parts.notes)
            notes.extend(self._named_parts(place))
            if folder != place.parent:
                notes.append(f"paths begin in {folder.url}")
        return notes

    def _named_parts(self, place: Place) -> list[str]:
        """Return a line on images that the chosen list names in folders of a held-out part."""
        if not self._is_chosen or self.options.split is not None or self._forms[place].split:
            return []
        rows = (row for row in self._entries(place) if row.reason is None)
        parts = divide({folder for row in rows if (folder := _first_folder(row.path))})
        names = [f"{name}/" for part, names in parts.items() if part != TRAIN for name in names]
        if TRAIN not in parts or not names:
            return []
        listed = first_names([shown(name) for name in names])
        return [f"read too, since the list names it: {listed}; data.split=train leaves it out"]

    def identity(self) -> list[Any]:
        """Return the state of each list, and a digest of that of the first files it names."""
        digest = hashlib.sha256()
        for place, _ in self._lists if self.place.is_local else ():
            folders = self._folders(place)
            for row in islice(self._entries(place), _CHECKED_FILES):
                if len(row.path) < 4096 and "://" not in row.path:
                    digest.update(str(locate(row.path, folders).identity()[1:]).encode())
        return [*(place.identity() for place, _ in self._lists), digest.hexdigest()[:16]]

    @cached_property
    def _lists(self) -> list[tuple[Place, str | None]]:
        if self.place.is_glob:
            return [(place, split_of(place.name)) for place in self.place.glob()]
        return _lists_in(self.place) if self.place.is_dir() else [(self.place, None)]

    @cached_property
    def _forms(self) -> dict[Place, Form]:
        return {place: _list_form.form_of(place, self.options) for place, _ in self._lists}

    @cached_property
    def _row_parts(self) -> RowParts:
        """Return the parts that a column tells, or the folders that the paths begin with."""
        if any(part is not None for _, part in self._lists):
            return RowParts()
        rows = ((place, row) for place, _ in self._lists for row in self._entries(place))
        values = {value for one in rows if (value := self._value(*one)) is not None}
        is_column = any(form.split is not None for form in self._forms.values())
        if not is_column and any(part_of_value(*value) is None for value in values):
            return RowParts()
        return divide_rows(values, self.options.split)

    def _value(self, place: Place, row: Entry) -> Value | None:
        """Return what tells the part of a row, or None."""
        form = self._forms[place]
        if row.reason is not None:
            return None
        if form.split is not None:
            column = form.split if isinstance(form.split, str) else form.columns[form.split]
            return column, row.split or ""
        if self._is_chosen and self.options.split is None:
            return None
        return _FOLDER, _first_folder(row.path)

    @property
    def _is_chosen(self) -> bool:
        """Whether the user has named this very list, which then means all that it names."""
        return self.place.is_glob or not self.place.is_dir()

    def _part_of(self, place: Place, row: Entry) -> str | None:
        value = self._value(place, row)
        return TRAIN if value is None else self._row_parts.told.get(value)

    def _entries(self, place: Place) -> Iterator[Entry]:
        return _list_form.entries(place, self._forms[place], self.options)

    def _folders(self, place: Place) -> list[Place]:
        """Return the folders in which the relative paths of a list begin."""
        first = islice(self._entries(place), _LOOKED_AT)
        paths = [row.path for row in first if row.reason is None and not row.path.startswith("/")]
        stem = place.name.rpartition(".")[0]
        return folders_of([path for path in paths if len(path) < 4096], place.parent, [stem])

    def _refuse_all_missing(self, place: Place, folders: list[Place]) -> None:
        """Check that one of the listed files exists.

        Raises:
            DataError: none does.
        """
        count, first = 0, None
        for row in self._entries(place):
            if row.reason is not None or len(row.path) >= 4096 or from_text(row.path).data:
                if row.reason is None:
                    return
                continue
            if exists(row.path, folders):
                return
            count, first = count + 1, first or row.path
        if first is not None:
            what = (
                "the only file that it names is not"
                if count == 1
                else f"none of its {count:,} files is"
            )
            hint = "; of sentences say --modality text" if " " in first else ""
            raise DataError(
                f"{place.url}: {what} there; {shown(first)} was looked for in {folders[-1].url}; "
                f"give absolute paths, or put the list into the folder where they begin{hint}"
            )

    def _label(self, row: Entry) -> Label:
        if self.options.labels != FOLDERS:
            return row.label
        folders = row.path.replace("\\", "/").split("/")[:-1]
        return folders[-1] if folders and folders[-1] not in ("", ".", "..") else None


def _first_folder(path: str) -> str:
    """Return the folder in which a relative path begins; empty for none."""
    folders = path.replace("\\", "/").removeprefix("./").split("/")[:-1]
    return folders[0] if folders else ""


def _lists_in(folder: Place) -> list[tuple[Place, str | None]]:
    """Return the lists that describe the images of a folder, each with the part that it is of.

    A `metadata` file counts if it has the column `file_name` and one of labels, or if no folders
    could tell the labels. Other lists count if the folder holds nothing else than text.
    """
    try:
        entries = sorted(islice(folder.entries(), 1000))
    except OSError:
        return []
    names = [name for name, is_dir in entries if not is_dir]
    folders = [name for name, is_dir in entries if is_dir]
    own = next((name for name in _METADATA if name in names), None)
    if own is not None:
        fits = _describes(folder / own, alone=not folders)
        return [(folder / own, None)] if fits else []
    found: list[tuple[Place, str | None]] = []
    if not folders and all(name.lower().endswith(_TEXTS) for name in names):
        lists = [name for name in names if name.lower().endswith(_TABLES_AS_TEXT)]
        return [(folder / name, split_of(name)) for name in lists]
    if not any(is_image_name(name) for name in names):
        for name in [name for name in folders if split_of(name) is not None][:_PROBED_FOLDERS]:
            inner = next((one for one in _METADATA if (folder / name / one).exists()), None)
            if inner is not None and _describes(folder / name / inner, alone=True):
                found.append((folder / name / inner, split_of(name)))
    return found


def _describes(place: Place, *, alone: bool) -> bool:
    if place.suffix == ".jsonl":
        records = [record for _, record in islice(_lists.json_records(place), 1)]
        names = {normal(key) for record in records if isinstance(record, dict) for key in record}
    else:
        rows = _lists.sample_rows(place, _lists.separator_of(place) or ",")
        names = {normal(cell) for cell in rows[0]} if rows else set()
    has_labels = bool(names & set(LABELS))
    return "file_name" in names and (has_labels or alone)
