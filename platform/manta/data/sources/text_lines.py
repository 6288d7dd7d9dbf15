"""Source of plain text: a text a line, or a file a text, as corpora of reviews are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from manta.data.names import first_names, shown
from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Label, Sample, chunks
from manta.data.sources._layout import UNLABELLED, split_of
from manta.data.sources._line_labels import cut_of
from manta.data.sources._listing import Listed, claimed
from manta.data.sources._lists import DELIMITED, JSON_LINES, text_of_list
from manta.data.sources._text import (
    LONGEST,
    OPEN_ENDED,
    TOO_LONG,
    TextFiles,
    bounded_lines,
    encoding_of,
    text_sample,
)
from manta.data.sources._words import FOLDERS, NO_LABELS
from manta.errors import DataError
from manta.files import Place

FILE = "file"
"""What `data.row` says where a whole file is a row."""
_UNLABELLED_FOLDERS = {"unsup", "unsupervised"}
_OTHERS = re.compile(
    r"\.(zip|rar|7z|gz|bz2|xz|zst|tar|tgz|xlsx?|ods|pdf|docx?|html?|xml|json|h5|hdf5|np[yz]|mat|"
    r"pkl|pt|parquet|pq|parq|arrow|feather|ipc|tab)"
)


@dataclass(frozen=True, slots=True)
class LineUnit:
    """Some files to read.

    Attributes:
        are_documents: whether each is a row.
    """

    files: list[Listed]
    are_documents: bool


@SOURCES.register("text_lines")
class TextLines(TextFiles):
    """Plain text: each line that is not blank is a row, or each file where folders are classes.

    Where `.txt` files lie in sub-folders, as those of IMDB do, a file is a row and its folder the
    label; `data.row` says `line` or `file` in any other case. `data.labels` may be `first` or
    `last`: a word of each line that is its label, or `regex:` and a pattern with one group that
    finds the label at the beginning of a line.
    """

    kind = "text_lines"
    endings = OPEN_ENDED

    @classmethod
    def claim(cls, place: Place) -> int:
        if place.is_glob or place.is_dir():
            return 1 if claimed(place, cls.endings) else 0  # lists of images have this ending too
        suffix = place.suffix
        is_other = suffix in DELIMITED or suffix in JSON_LINES or _OTHERS.fullmatch(suffix)
        return 0 if is_other or not place.exists() else 1

    def list_files(self) -> list[Listed]:
        """Return the files; those of a folder of unlabelled texts are a part of their own."""
        return [
            replace(file, part=UNLABELLED)
            if _UNLABELLED_FOLDERS & {*file.name.split("/")[:-1]}
            else file
            for file in super().list_files()
        ]

    def units(self) -> Iterator[LineUnit]:
        self._refuse_columns()
        of_files = self._are_documents
        for files in chunks(self._files, FILES_PER_UNIT if of_files else 1):
            yield LineUnit(files, of_files)

    def read(self, unit: LineUnit) -> Iterator[Sample]:
        by_folder = (None, FOLDERS) if unit.are_documents else (FOLDERS,)
        for file in unit.files:
            folder = _class_of(file) if self.options.labels in by_folder else None
            label = None if folder is None else shown(folder)
            try:
                yield from (self._document if unit.are_documents else self._lines)(file, label)
            except (DataError, OSError) as error:
                yield Sample(file.name, None, label, " ".join(str(error).split()))

    def notes(self) -> list[str]:
        """Return what a row is, and which files were left out."""
        notes = ["a row is a file; data.row=line takes lines"] if self._are_documents else []
        kept = {file.name for file in self._files}
        aside = [shown(file.name) for file in self.chosen_files() if file.name not in kept]
        return [*notes, f"left out: {first_names(aside)}"] if aside else notes

    @cached_property
    def _are_documents(self) -> bool:
        """Whether a file is a row: it lies in one of several folders that are no parts."""
        asked = dict(self.options.settings).get("row")
        if asked is not None:
            return bool(asked == FILE)
        is_of_lines = self.options.labels not in (None, NO_LABELS, FOLDERS)
        folders = {folder for file in self.listed if (folder := _class_of(file)) is not None}
        return len(folders) > 1 and not is_of_lines

    @cached_property
    def _files(self) -> list[Listed]:
        """The files to read: where folders are classes, those beside them are none of the data."""
        files = self.chosen_files()
        in_folders = [file for file in files if _class_of(file) is not None]
        by_folders = self._are_documents and self.options.labels != NO_LABELS
        return in_folders if by_folders and in_folders else files

    def _refuse_columns(self) -> None:
        """Check that nothing is asked for that lines and files do not have.

        Raises:
            DataError: a column is.
        """
        cut_of(self.options, self.place)
        encoding_of(self.options)
        if self.options.column is not None:
            raise DataError(
                f"data.column: {self.place.url} is plain text without columns; name a .csv or "
                ".tsv, or leave data.column out"
            )

    def _document(self, file: Listed, label: Label) -> Iterator[Sample]:
        with text_of_list(file.place, encoding=encoding_of(self.options)) as text:
            content = text.read(LONGEST + 1)
        if len(content) > LONGEST:
            yield Sample(file.name, None, label, TOO_LONG)
        else:
            yield text_sample(file.name, content, label)

    def _lines(self, file: Listed, label: Label) -> Iterator[Sample]:
        cut = cut_of(self.options, file.place)
        with text_of_list(file.place, encoding=encoding_of(self.options)) as text:
            for number, line in bounded_lines(text):
                path, words, reason = f"{file.name}#{number}", (line or "").strip(), None
                if line is not None and not words:
                    continue
                if line is None:
                    reason = TOO_LONG
                elif cut is not None:
                    label, words, reason = cut(words)
                if reason is not None:
                    yield Sample(path, None, label, reason)
                else:
                    yield text_sample(path, words, label)


def _class_of(file: Listed) -> str | None:
    """Return the first folder of a file that is not a part of the dataset."""
    folders = file.name.split("/")[:-1]
    parts = (*_UNLABELLED_FOLDERS, UNLABELLED)
    return next((one for one in folders if split_of(one) is None and one not in parts), None)
