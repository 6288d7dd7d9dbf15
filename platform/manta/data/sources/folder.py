"""Source of a folder of image files: flat, nested, in parts, or with one sub-folder per class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from manta.data.names import first_names, shown
from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Sample, Source, chunks, read_files
from manta.data.sources._held_out import HeldOut, find_held_out
from manta.data.sources._layout import (
    ALL,
    PARTS,
    TRAIN,
    divide,
    holds_images,
    image_folder,
    split_of,
)
from manta.data.sources._tree import DEEPEST, Level, left_out, look, short, walk
from manta.errors import DataError
from manta.files import Place

_CHECKED_FILES = 200_000
"""Files whose names, sizes and times say whether a folder has changed."""


@dataclass(frozen=True)
class _Plan:
    """How a folder is read.

    Attributes:
        roots: `(prefix, class or None)` of each folder to walk.
        classes: names of the classes over all roots, sorted; None without labels.
    """

    roots: list[tuple[str, str | None]] = field(default_factory=list)
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Layout:
    """Where the images of a folder lie.

    Attributes:
        prefix: of the folder that holds the data.
        parts: names of its sub-folders by part of the dataset.
        classes: names of its sub-folders if the parts are inside of each of them; else None.
    """

    prefix: str
    parts: dict[str, list[str]]
    classes: list[str] | None
    notes: list[str]


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
        if self._deep is None:
            return self._layout.parts
        parts = {TRAIN: ["all else"], **self._deep.folders}
        return {part: parts[part] for part in PARTS if part in parts}

    def notes(self) -> list[str]:
        are_read = not self.parts() and self.options.split != ALL
        return [*self._plan.notes, *self._held_out.notes(are_read=are_read)]

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
        noticed, and one that is added or removed only by the time of its class folder. On an object
        store the names in the folder itself are compared: more would be a request for each class.
        """
        digest = hashlib.sha256()
        if not self.place.is_local:
            names = sorted(name for name, _ in self.place.entries())
            digest.update("\n".join([str(self.options), *names]).encode(errors="replace"))
            return [self.place.url, digest.hexdigest()[:16]]
        for name, label in islice(self._files(), _CHECKED_FILES):
            _, changed, size = (self.place / name).identity()
            digest.update(f"{name}\n{label}\n{changed}\n{size}\n".encode(errors="replace"))
        for prefix, _ in self._plan.roots:
            digest.update(str((self.place / prefix).identity()[1]).encode())
        return [self.place.url, digest.hexdigest()[:16]]

    def _files(self) -> Iterator[tuple[str, int | None]]:
        numbers = {name: number for number, name in enumerate(self._plan.classes or ())}
        for prefix, name in self._plan.roots:
            label = None if name is None else numbers.get(name)
            yield from ((file, label) for file in walk(self.place, prefix, self._left_out))

    @cached_property
    def _held_out(self) -> HeldOut:
        return HeldOut() if self._layout.parts else find_held_out(self.place, self._layout.prefix)

    @property
    def _deep(self) -> HeldOut | None:
        """Return the parts below the first folders if they count, else None.

        Those beside a training folder do; `cat/`, `dog/` and `test/` are parts if one is asked for.
        """
        found = self._held_out
        counts = found.is_sure or self.options.split not in (None, ALL)
        return found if found.folders and counts else None

    @cached_property
    def _left_out(self) -> tuple[str, ...]:
        """Return the prefixes of the folders of other parts, where these lie deeper."""
        part = self.chosen_part()
        return self._deep.other_than(part) if self._deep is not None and part else ()

    @cached_property
    def _layout(self) -> _Layout:
        """Return the prefix below which images lie, the parts there, and what was left out."""
        prefix, notes = self._descend("")
        level = look(self._at(prefix))
        parts = divide(level.folders) if level.has_few_images else {}
        # One part alone beside images is a folder like any other.
        parts = parts if not level.has_images or len(parts) > 1 else {}
        if not parts:
            if not level.has_images and level.folders:
                inner = divide(look(self._at(f"{prefix}{level.folders[0]}/")).folders)
                if len(inner) > 1:  # photos/cat/train, photos/cat/test
                    return _Layout(prefix, inner, level.folders, notes)
            return _Layout(prefix, {}, None, notes)
        in_parts = {name for names in parts.values() for name in names}
        others = [f"{prefix}{shown(name)}/" for name in level.folders if name not in in_parts]
        others += [f"{prefix}{shown(name)}" for name in level.images]
        if others:
            notes.append(f"left out: {first_names(others)}")
        return _Layout(prefix, parts, None, notes)

    def _descend(self, prefix: str, *, is_part: bool = False) -> tuple[str, list[str]]:
        """Return the folder below that the data are in, and notes on what is beside it.

        A single folder is entered; in a part of a dataset only if it is no class.
        """
        notes: list[str] = []
        for _ in range(DEEPEST):
            level = look(self._at(prefix))
            notes += left_out(prefix, level)
            images = image_folder(level.folders)
            if images is not None and level.has_few_images:
                others = [f"{shown(name)}/" for name in level.folders if name != images]
                others += [shown(name) for name in level.images]
                notes.append(f"read {shown(prefix + images)}/; left out: {first_names(others)}")
            elif len(level.folders) == 1 and not level.has_images:
                images = level.folders[0]
                is_same = is_part and _is_same(prefix, images)
                if divide([images]) and not is_same:
                    return prefix, notes
                if is_part and not holds_images(images) and not is_same:
                    return prefix, notes
            else:
                return prefix, notes
            prefix = f"{prefix}{images}/"
        raise DataError(
            f"{short(self.place)} is nested deeper than {DEEPEST} folders; point data.source at "
            "the folder that holds the images"
        )

    def _at(self, prefix: str) -> Place:
        return self.place / prefix.rstrip("/") if prefix else self.place

    @cached_property
    def _plan(self) -> _Plan:
        self._check_options()
        layout, part = self._layout, self.chosen_part()
        notes = list(layout.notes)
        if self._deep is not None and part not in (None, TRAIN):
            return _Plan([(root, None) for root in self._deep.folders[part]], None, notes)
        chosen = [name for one in layout.parts if part in (None, one) for name in layout.parts[one]]
        if layout.classes is not None:
            wanted = self.options.labels != "none"
            roots = [
                (f"{layout.prefix}{name}/{folder}/", name if wanted else None)
                for name in layout.classes
                for folder in chosen
                if self._at(f"{layout.prefix}{name}/{folder}/").exists()
            ]
            return _Plan(roots, layout.classes if wanted else None, notes)
        by_root: dict[str, list[str] | None] = {}
        for root in [f"{layout.prefix}{name}/" for name in chosen] or [layout.prefix]:
            inside, told = self._descend(root, is_part=True) if chosen else (root, [])
            by_root[inside], more = self._class_folders(look(self._at(inside)), inside, chosen)
            notes += told + more
        names = sorted({name for folders in by_root.values() for name in folders or ()})
        if not names or any(folders is None for folders in by_root.values()):
            return _Plan([(root, None) for root in by_root], None, notes)
        every = [(root, name) for root, folders in by_root.items() for name in folders or ()]
        return _Plan([(f"{root}{name}/", name) for root, name in every], names, notes)

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

    def _class_folders(
        self, level: Level, prefix: str, parts: list[str]
    ) -> tuple[list[str] | None, list[str]]:
        """Return the sub-folders that are classes, if they are; and notes."""
        notes: list[str] = []
        names = [name for name in level.folders if f"{prefix}{name}/" not in self._left_out]
        level = replace(level, folders=names)
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
        if len(level.folders) < (1 if parts else 2):
            return None, notes
        first = look(self._at(f"{prefix}{level.folders[0]}/"))
        if first.folders:
            notes.append(
                f"sub-folders such as {prefix}{level.folders[0]}/ hold folders: no labels; "
                "data.labels=folders takes the first sub-folders as classes"
            )
            return None, notes
        return level.folders, notes


def _is_same(prefix: str, name: str) -> bool:
    """Return whether a folder is called as the one above it: train/train/, as archives unpack."""
    above = prefix.rstrip("/").rpartition("/")[2]
    return name == above or (split_of(name) is not None and split_of(name) == split_of(above))
