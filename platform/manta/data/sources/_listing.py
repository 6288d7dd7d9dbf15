"""Files of tables and archives below a location, and the parts that their names tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import unquote

from manta.data.names import shown
from manta.data.sources._base import Source
from manta.data.sources._layout import TRAIN, is_image_name, is_litter, is_own, split_of
from manta.errors import DataError
from manta.files import Place

STRAY_IMAGES = 3
"""Image files beside tables or archives that are taken for pictures of a README."""
_DEPTH = 8
_PROBED_NAMES, _PROBED_FOLDERS = 1000, 32
_PART_KEYS = ("split", "subset", "partition", "set", "phase")
_EMPTY_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Listed:
    """File of samples below a location.

    Attributes:
        name: path relative to the location.
        part: part of the dataset that its name or one of its folders tells, if any.
        keys: values that folders such as `label=cat` give to all rows of the file.
        folder: its first folder below the location; None if it lies at the top.
    """

    place: Place
    name: str
    part: str | None = None
    keys: dict[str, str | None] = field(default_factory=dict)
    folder: str | None = None


class Files(Source):
    """Source that is one file, a pattern, or a folder of files, whose names may tell parts."""

    endings: ClassVar[tuple[str, ...]]

    @cached_property
    def listed(self) -> list[Listed]:
        """Return all files of the location, in the order in which they are read."""
        return self.list_files()

    def list_files(self) -> list[Listed]:
        """Return all files of the location, sorted by name within each folder.

        Raises:
            DataError: there are none.
        """
        if self.place.is_glob:
            places = [place for place in self.place.glob() if not place.is_dir()]
            found = [_listed(place, (place.name,)) for place in places]
        elif self.place.is_dir():
            try:
                found = [_listed(place, parts) for place, parts in _walk(self.place, (), set())]
            except OSError as error:
                reason = f"{error.strerror}: {shown(str(error.filename))}"
                raise DataError(f"{self.place.url} cannot be listed: {reason}") from None
        else:
            return [Listed(self.place, self.place.name)]
        fitting = [file for file in found if file.place.name.lower().endswith(self.endings)]
        if not fitting:
            raise DataError(
                f"no {' or '.join(self.endings[:2])} file matches {self.place.url}; look for a "
                "typing error in the pattern"
            )
        return fitting

    def parts(self) -> dict[str, list[str]]:
        """Return the files of each part that names tell, if they tell several.

        Files whose names tell none are the training part if no other file is.
        """
        return {part: [shown(file.name) for file in files] for part, files in self._parts.items()}

    @cached_property
    def _parts(self) -> dict[str, list[Listed]]:
        parts: dict[str, list[Listed]] = {}
        for file in self.listed:
            if file.part is not None:
                parts.setdefault(file.part, []).append(file)
        unsaid = [file for file in self.listed if file.part is None]
        if parts and unsaid:
            parts.setdefault(TRAIN, unsaid)
        # A folder of one part was chosen by the user, who pointed at it.
        return parts if len(parts) > 1 or self.options.split is not None else {}

    def chosen_files(self) -> list[Listed]:
        """Return the files of the part to read."""
        part = self.chosen_part() if self._parts or self.options.split else None
        return self.listed if part is None else self._parts[part]

    def left_out(self) -> list[str]:
        """Return the names of files that are in no part, though others are."""
        inside = {file.place.url for files in self._parts.values() for file in files}
        outside = [file for file in self.listed if inside and file.place.url not in inside]
        return [shown(file.name) for file in outside]

    def identity(self) -> list[Any]:
        return [file.place.identity() for file in self.listed]


def claimed(place: Place, endings: tuple[str, ...]) -> bool:
    """Return whether a location is, or mainly holds, files with one of these endings.

    A pattern does if its last part has such an ending, or a file that matches it. Folders below a
    folder are looked into if it holds hardly anything else.
    """
    if place.is_glob:
        named = place.name.lower().endswith(endings)
        return named or any(one.name.lower().endswith(endings) for one in islice(place.glob(), 100))
    if not place.is_dir():
        return place.name.lower().endswith(endings)
    return _first_of(place, endings) is not None


def beside_images(place: Place, endings: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the first file with an ending and the first image of a folder that holds many of both.

    None if it does not.
    """
    if place.is_glob or not place.is_dir():
        return None
    names = [name for name, is_dir in islice(place.entries(), _PROBED_NAMES) if not is_dir]
    images = sorted(name for name in names if is_image_name(name))
    fitting = sorted(name for name in names if name.lower().endswith(endings))
    return (fitting[0], images[0]) if fitting and len(images) > STRAY_IMAGES else None


def _first_of(place: Place, endings: tuple[str, ...], depth: int = 0) -> str | None:
    """Return a file with an ending in a folder, or in one below it if it holds no images itself."""
    folders, images = [], 0
    try:
        entries = list(islice(place.entries(), _PROBED_NAMES))
    except OSError:
        return None
    for name, is_dir in entries:
        if is_dir:
            folders.append(name)
        elif name.lower().endswith(endings) and not name.startswith("_"):
            return name
        images += not is_dir and is_image_name(name)
    if images > (0 if depth else STRAY_IMAGES) or depth >= 3:
        return None
    for name in sorted(folders)[:_PROBED_FOLDERS]:
        below = place / name
        if not is_litter(name) and not is_own(below):
            found = _first_of(below, endings, depth + 1)
            if found is not None:
                return f"{name}/{found}"
            if not place.is_local and _has_images(below):
                return None  # to list each of many class folders would take long there
    return None


def _has_images(place: Place) -> bool:
    return any(is_image_name(name) for name, _ in islice(place.entries(), _PROBED_NAMES))


def _walk(
    place: Place, above: tuple[str, ...], seen: set[str]
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield each file below a folder with the parts of its relative path, sorted."""
    real = os.path.realpath(place.url) if place.is_local else place.url
    if real in seen or len(above) > _DEPTH:
        return
    seen.add(real)
    for name, is_dir in sorted(place.entries()):
        if is_litter(name) or name.startswith("_"):
            continue
        below = place / name
        if not is_dir:
            yield below, (*above, name)
        elif not is_own(below):
            yield from _walk(below, (*above, name), seen)


def _listed(place: Place, parts: tuple[str, ...]) -> Listed:
    pairs = [part.split("=", 1) for part in parts[:-1] if "=" in part]
    keys = {key: None if value == _EMPTY_PARTITION else unquote(value) for key, value in pairs}
    folder = parts[0] if len(parts) > 1 else None
    return Listed(place, "/".join(parts), _part_of(parts), keys, folder)


def _part_of(parts: tuple[str, ...]) -> str | None:
    """Return the part that a file's name tells, else the innermost folder that tells one."""
    for position, name in enumerate(reversed(parts)):
        key, equals, value = name.partition("=")
        if equals and position and key.lower() not in _PART_KEYS:
            continue
        part = split_of(value if equals and position else name)
        if part is None and position == 0:
            words = re.split(r"[-_.]", name.lower())[:-1]
            told = {split_of(word) for word in words if word.isalpha()} - {None}
            part = told.pop() if len(told) == 1 else None
        if part is not None:
            return part
    return None
