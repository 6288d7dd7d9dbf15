"""Source of a folder of image files: flat, nested, in parts, or with one sub-folder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Sample, Source, chunks, read_files
from manta.data.sources._layout import (
    divide,
    image_folder,
    is_image_name,
    is_litter,
    is_own,
    leads_up,
    looks_like_image,
)
from manta.data.sources._names import shown
from manta.errors import DataError
from manta.files import Place

_STRAY_FILES = 100
"""Files beside sub-folders that are looked at to find out whether images lie there too."""
_CHECKED_FILES = 200_000
"""Files whose sizes and times say whether a folder has changed; of the rest only their number."""
_DEEPEST = 32
_LISTS = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class _Level:
    """Entries of one folder, without litter and Manta's own output.

    Attributes:
        folders: names of sub-folders, sorted.
        has_images: whether image files lie beside them.
        stray: names of other files beside them; up to `_STRAY_FILES`.
        ignored: names of sub-folders that are left out.
    """

    folders: list[str]
    has_images: bool
    stray: list[str]
    ignored: list[str]


@dataclass(frozen=True)
class _Plan:
    """How a folder is read.

    Attributes:
        roots: `(prefix, names of its class folders or None)` of each folder to walk.
        classes: names of the classes over all roots, sorted; None without labels.
    """

    roots: list[tuple[str, list[str] | None]] = field(default_factory=list)
    classes: list[str] | None = None
    parts: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@SOURCES.register("folder")
class Folder(Source):
    """Folder of image files: flat, nested, in parts, or with one sub-folder per class.

    Sub-folders named as parts of a dataset (`train`, `test`, ...) are never merged: the training
    part is read unless `data.split` says otherwise. Beside folders of masks or annotations only the
    folder of images is read. The names of the sub-folders, sorted, are the labels if there are at
    least two of them and the first holds files and no folder; other files beside them are left
    out. Deeper trees, and images beside the sub-folders, are read without labels.
    `data.labels=folders` takes the first sub-folders as labels in any case. Hidden files, what
    other programs leave behind (Thumbs.db, __MACOSX), empty folders and Manta's own runs are left
    out. A file that is not an image goes to quarantine.
    """

    kind = "folder"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if not place.is_glob and place.is_dir() else 0

    def classes(self) -> list[str] | None:
        names = self._plan.classes
        return None if names is None else [shown(name) for name in names]

    def parts(self) -> dict[str, list[str]]:
        return self._layout.parts

    def notes(self) -> list[str]:
        return self._plan.notes

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

    def identity(self) -> list[Any]:
        """Return a digest of the names, sizes and times of the first files, and of the folders.

        Where there are more than `_CHECKED_FILES`, a later one that is changed in place is not
        noticed, and one that is added or removed by the time of its class folder alone. On an
        object store only names are compared, since each file's size would be a request.
        """
        digest = hashlib.sha256()
        for name, label in islice(self._files(), _CHECKED_FILES):
            _, changed, size = (self.place / name).identity() if self.place.is_local else ("", 0, 0)
            digest.update(f"{name}\n{label}\n{changed}\n{size}\n".encode(errors="replace"))
        for prefix, folders in self._plan.roots if self.place.is_local else ():
            for folder in [prefix, *(f"{prefix}{name}" for name in folders or ())]:
                digest.update(str((self.place / folder).identity()[1]).encode())
        return [self.place.url, digest.hexdigest()[:16]]

    def _files(self) -> Iterator[tuple[str, int | None]]:
        numbers = {name: number for number, name in enumerate(self._plan.classes or ())}
        for prefix, folders in self._plan.roots:
            if folders is None:
                yield from ((name, None) for name in _walk(self.place, prefix))
                continue
            for folder in folders:  # each is walked by itself, so that it has its label
                label = numbers.get(folder)
                yield from ((name, label) for name in _walk(self.place, f"{prefix}{folder}/"))

    @cached_property
    def _layout(self) -> _Plan:
        """Return the prefix below which images lie, the parts there, and what was left out."""
        prefix, notes = "", list[str]()
        for _ in range(_DEEPEST):
            level = _look(self.place / prefix if prefix else self.place)
            notes += _left_out(prefix, level)
            images = image_folder(level.folders)
            if not level.has_images and images is not None:
                others = [f"{name}/" for name in level.folders if name != images]
                notes.append(f"read {prefix}{images}/; left out: {_listed(others)}")
                prefix = f"{prefix}{images}/"
                continue
            parts = {} if level.has_images else divide(level.folders)
            if not parts and len(level.folders) == 1 and not level.has_images:
                prefix = f"{prefix}{level.folders[0]}/"
                continue
            in_parts = {name for names in parts.values() for name in names}
            others = [f"{prefix}{name}/" for name in level.folders if name not in in_parts]
            if parts and others:
                notes.append(f"left out: {_listed(others)}")
            return _Plan([(prefix, None)], None, parts, notes)
        raise DataError(
            f"{_short(self.place)} is nested deeper than {_DEEPEST} folders; point data.source at "
            "the folder that holds the images"
        )

    @cached_property
    def _plan(self) -> _Plan:
        self._check_options()
        layout = self._layout
        ((prefix, _),) = layout.roots
        notes, part = list(layout.notes), self.chosen_part()
        chosen = [name for one in layout.parts if part in (None, one) for name in layout.parts[one]]
        roots: list[tuple[str, list[str] | None]] = []
        for root in [f"{prefix}{name}/" for name in chosen] or [prefix]:
            folders, told = self._class_folders(root, is_part=bool(chosen))
            roots.append((root, folders))
            notes += told
        names = {name for _, folders in roots for name in folders or ()}
        labelled = bool(names) and all(folders is not None for _, folders in roots)
        if not labelled:
            roots = [(root, None) for root, _ in roots]
        return _Plan(roots, sorted(names) if labelled else None, layout.parts, notes)

    def _check_options(self) -> None:
        column, labels = self.options.column, self.options.labels
        if column is not None:
            where = f"{self.place.url} is a folder of images, not a table"
            raise DataError(f"{where}: leave data.column={column} out")
        if labels not in (None, "folders", "none"):
            raise DataError(
                f"{self.place.url} is a folder of images without a column {labels!r}; its labels "
                "can be 'folders' (the first sub-folders) or 'none'"
            )

    def _class_folders(self, prefix: str, *, is_part: bool) -> tuple[list[str] | None, list[str]]:
        """Return the sub-folders that are classes, if they are; and notes."""
        level = _look(self.place / prefix if prefix else self.place)
        notes = _left_out(prefix, level) if is_part else []
        if not level.folders or self.options.labels == "none":
            return None, notes
        if self.options.labels == "folders":
            return level.folders, notes
        if level.has_images:
            notes.append(
                f"images lie beside the sub-folders of {prefix or 'it'}: no labels; "
                "data.labels=folders takes the sub-folders as classes"
            )
            return None, notes
        if len(level.folders) < (1 if is_part else 2):
            return None, notes
        first = _look(self.place / f"{prefix}{level.folders[0]}")
        if first.folders:
            notes.append(
                f"sub-folders such as {prefix}{level.folders[0]}/ hold folders: no labels; "
                "data.labels=folders takes the first sub-folders as classes"
            )
            return None, notes
        return level.folders, notes


def _look(place: Place) -> _Level:
    """Return what lies in a folder; of a flat one with many images, the first are looked at."""
    folders, stray, ignored = [], list[str](), []
    images = 0
    for name, is_dir in place.entries():
        if is_dir:
            inner = place / name
            if is_litter(name) or is_own(inner) or _is_empty(inner) or leads_up(inner):
                ignored.append(name)
            else:
                folders.append(name)
        elif is_litter(name):
            stray.append(name)
        elif is_image_name(name):
            images += 1
            if images > _STRAY_FILES * 100 and not folders:
                break
        elif len(stray) < _STRAY_FILES:
            stray.append(name)
    has_images = images > 0
    if not has_images and folders:
        has_images = any(looks_like_image(place / name) for name in stray if not is_litter(name))
    return _Level(sorted(folders), has_images, sorted(stray), sorted(ignored))


def _is_empty(folder: Place) -> bool:
    """Return whether a local folder holds nothing but litter and Manta's own output."""
    # An object store has no empty folders, and looking into each of many would take long there.
    return folder.is_local and all(
        is_litter(name) or (is_dir and is_own(folder / name)) for name, is_dir in _entries(folder)
    )


def _left_out(prefix: str, level: _Level) -> list[str]:
    """Return a note on what lies in a folder and is not read."""
    names = [f"{name}/" for name in level.ignored]
    if level.folders and not level.has_images:
        names += level.stray
    else:
        names += [name for name in level.stray if is_litter(name)]
    notes = [f"left out: {_listed([prefix + name for name in names])}"] if names else []
    lists = [name for name in level.stray if name.lower().endswith(_LISTS)]
    if lists and (level.folders or level.has_images):
        notes.append(f"{prefix}{lists[0]} may hold labels: as data.source it is read as a list")
    return notes


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def _short(place: Place) -> str:
    return place.url if len(place.url) <= 200 else f"{place.url[:100]}...{place.url[-60:]}"


def _entries(place: Place) -> Iterator[tuple[str, bool]]:
    """Yield the entries of a folder; of one that cannot be listed, none."""
    try:
        yield from place.entries()
    except OSError:
        return


def _walk(root: Place, prefix: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Yield the names, from `root` on, of all files below a folder, sorted within each folder.

    Of each level only one folder's names are held at a time. A link to a folder above it, and a
    folder that cannot be listed, are yielded as if they were files: reading them gives the reason.
    """
    folder = root / prefix.rstrip("/") if prefix else root
    here = _inode(folder)
    if here in above or len(above) > _DEEPEST or (above and leads_up(folder)):
        yield prefix.rstrip("/")
        return
    try:
        entries = sorted(folder.entries())
    except OSError:
        yield prefix.rstrip("/")
        return
    inside = above if here is None else (*above, here)
    for name, is_dir in entries:
        if is_litter(name):
            continue
        if not is_dir:
            yield f"{prefix}{name}"
        elif not is_own(folder / name):
            yield from _walk(root, f"{prefix}{name}/", inside)


def _inode(folder: Place) -> tuple[int, int] | None:
    """Return what tells a local folder from any other, by whatever path it is reached."""
    if not folder.is_local:
        return None
    try:
        status = os.stat(folder.url)
    except OSError:
        return None
    return status.st_dev, status.st_ino
