"""Source of a folder of image files: flat, nested, or with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Sample, Source, chunks, read_files
from manta.errors import DataError
from manta.files import Place


@SOURCES.register("folder")
class Folder(Source):
    """Folder of image files: flat, nested, or with one sub-folder per class.

    Every file that is not hidden is read; files that are not images go to quarantine. The names of
    the sub-folders, sorted, are the labels if the folder holds at least two of them and no file,
    and the first of them holds files and no folder. Deeper or mixed trees are read completely and
    have no labels.
    """

    kind = "folder"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if not place.is_glob and place.is_dir() else 0

    @cached_property
    def _class_names(self) -> list[str] | None:
        names = []
        for name, is_dir in self.place.entries():
            if not is_dir:
                return None
            names.append(name)
        names.sort()
        if len(names) < 2 or any(is_dir for _, is_dir in (self.place / names[0]).entries()):
            return None
        return names

    def classes(self) -> list[str] | None:
        return self._class_names

    def units(self) -> Iterator[list[tuple[str, int | None]]]:
        empty = True
        for unit in chunks(self._files(), FILES_PER_UNIT):
            empty = False
            yield unit
        if empty:
            raise DataError(
                f"{self.place.url} holds no file; point data.source at the folder that holds the "
                "images"
            )

    def read(self, unit: list[tuple[str, int | None]]) -> Iterator[Sample]:
        yield from read_files((self.place / name, name, label) for name, label in unit)

    def _files(self) -> Iterator[tuple[str, int | None]]:
        classes = self._class_names
        if classes is None:
            yield from ((name, None) for name in _walk(self.place, ""))
            return
        for label, name in enumerate(classes):
            yield from ((file, label) for file in _walk(self.place / name, f"{name}/"))


def _walk(place: Place, prefix: str, depth: int = 0) -> Iterator[str]:
    """Yield the names of all files below `place`, sorted within each folder.

    Of each level only one folder's names are held at a time.
    """
    if depth > 32:
        raise DataError(
            f"{place.url} is nested deeper than 32 folders; look for a link that points to its own "
            "parent"
        )
    entries = sorted(place.entries())
    for name, is_dir in entries:
        if is_dir:
            yield from _walk(place / name, f"{prefix}{name}/", depth + 1)
        else:
            yield f"{prefix}{name}"
