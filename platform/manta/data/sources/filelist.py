"""Source of listed image files: `.txt` with a path per line, or `.csv`/`.tsv` with labels too."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import cached_property

from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Sample, Source, chunks, read_files
from manta.errors import DataError
from manta.files import Place

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_HEADERS = ("path", "file", "filename", "image")


@SOURCES.register("filelist")
class FileList(Source):
    """List of image files in a `.txt`, or in a `.csv` or `.tsv` with the columns `path[,label]`.

    Paths are absolute, relative to the list's own folder, or URLs. A header line is optional.
    Labels that are all integers are used as they are; other words are numbered in sorted order.
    """

    kind = "filelist"

    @classmethod
    def claim(cls, place: Place) -> int:
        return (
            2
            if place.suffix in (".txt", *_DELIMITERS) and not place.is_glob and not place.is_dir()
            else 0
        )

    def units(self) -> Iterator[list[tuple[str, int | None]]]:
        numbers = {name: number for number, name in enumerate(self._words or ())}
        empty = True
        for rows in chunks(self._rows(), FILES_PER_UNIT):
            empty = False
            yield [
                (path, None if word is None else numbers.get(word, _integer(word)))
                for path, word in rows
            ]
        if empty:
            raise DataError(f"{self.place.url} names no file; write one path per line")

    def read(self, unit: list[tuple[str, int | None]]) -> Iterator[Sample]:
        folder = self.place.parent
        for path, label in unit:
            absolute = "://" in path or path.startswith("/")
            yield from read_files([(Place.of(path) if absolute else folder / path, path, label)])

    def classes(self) -> list[str] | None:
        return self._words

    @cached_property
    def _words(self) -> list[str] | None:
        """Return the distinct labels, sorted; None if all are integers or there are none.

        This takes one pass over the list and holds only the labels.
        """
        if self.place.suffix == ".txt":
            return None
        words = {word for _, word in self._rows() if word is not None}
        return None if all(_integer(word) is not None for word in words) else sorted(words)

    def _rows(self) -> Iterator[tuple[str, str | None]]:
        with (
            self.place.open() as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as lines,
        ):
            if self.place.suffix == ".txt":
                yield from ((line.strip(), None) for line in lines if line.strip())
                return
            rows = csv.reader(lines, delimiter=_DELIMITERS[self.place.suffix])
            for number, row in enumerate(rows):
                if (
                    not row
                    or not row[0].strip()
                    or (number == 0 and row[0].strip().lower() in _HEADERS)
                ):
                    continue
                word = row[1].strip() if len(row) > 1 else ""
                yield row[0].strip(), word or None


def _integer(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None
