"""What lies in a folder of images, and the walk over all of its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from manta.data.names import first_names, shown
from manta.data.sources._layout import (
    is_image_name,
    is_litter,
    is_own,
    leads_up,
    looks_like_image,
)
from manta.files import Place

DEEPEST = 32
_STRAY_FILES = 100
"""Files beside sub-folders that are looked at to find out whether images lie there too."""
_LOOSE_IMAGES = 3
"""Images beside the parts of a dataset that are taken for pictures of its README."""
_LISTS = (".csv", ".tsv", ".jsonl")
_TEXTS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".mat", ".md", ".yaml", ".yml")
"""Endings of files beside the images of a dataset: a folder of nothing else is no class."""
_MOST_TEXTS, _TEXTS_DEEPEST = 20_000, 3


@dataclass(frozen=True)
class Level:
    """Entries of one folder, without litter and Manta's own output.

    Attributes:
        folders: names of sub-folders, sorted.
        images: names of image files beside them: the first few.
        stray: names of other files beside them; up to `_STRAY_FILES`.
        ignored: names of sub-folders that are left out.
    """

    folders: list[str]
    images: list[str]
    stray: list[str]
    ignored: list[str]

    @property
    def has_images(self) -> bool:
        """Return whether image files lie beside the folders."""
        return bool(self.images)

    @property
    def has_few_images(self) -> bool:
        """Return whether these are so few that they hardly are the data."""
        return len(self.images) <= _LOOSE_IMAGES


def look(place: Place) -> Level:
    """Return what lies in a folder; of a flat one with many images, the first are looked at."""
    folders, stray, ignored = [], list[str](), []
    images: list[str] = []
    for name, is_dir in place.entries():
        if is_dir:
            inner = place / name
            if is_litter(name) or is_own(inner) or _holds_no_data(inner) or leads_up(inner):
                ignored.append(name)
            else:
                folders.append(name)
        elif is_litter(name):
            stray.append(name)
        elif is_image_name(name):
            images.append(name)
            if len(images) > _STRAY_FILES * 100 and not folders:
                break
        elif len(stray) < _STRAY_FILES:
            stray.append(name)
    if not images and folders:
        unsure = (name for name in stray if not is_litter(name))
        images = [name for name in unsure if looks_like_image(place / name)]
    images = sorted(images)[: _LOOSE_IMAGES + 1]
    return Level(sorted(folders), images, sorted(stray), sorted(ignored))


def _holds_no_data(folder: Place, depth: int = 0) -> bool:
    """Return whether a local folder holds only litter, Manta's own output and files of text."""
    # An object store has no empty folders, and looking into each of many would take long there.
    if not folder.is_local or depth > _TEXTS_DEEPEST:
        return False
    for count, (name, is_dir) in enumerate(_entries(folder)):
        inner = folder / name
        if is_litter(name) or (is_dir and is_own(inner)):
            continue
        is_text = not is_dir and name.lower().endswith(_TEXTS) and count < _MOST_TEXTS
        if not is_text and not (
            is_dir and not leads_up(inner) and _holds_no_data(inner, depth + 1)
        ):
            return False
    return True


def left_out(prefix: str, level: Level) -> list[str]:
    """Return a note on what lies in a folder and is not read."""
    names = [f"{name}/" for name in level.ignored]
    if level.folders and not level.has_images:
        names += level.stray
    else:
        names += [name for name in level.stray if is_litter(name)]
    notes = [f"left out: {first_names([shown(prefix + name) for name in names])}"] if names else []
    lists = [name for name in level.stray if name.lower().endswith(_LISTS)]
    if lists and (level.folders or level.has_images):
        notes.append(f"{prefix}{lists[0]} may hold labels: as data.source it is read as a list")
    return notes


def short(place: Place) -> str:
    return place.url if len(place.url) <= 200 else f"{place.url[:100]}...{place.url[-60:]}"


def _entries(place: Place) -> Iterator[tuple[str, bool]]:
    """Yield the entries of a folder; of one that cannot be listed, none."""
    try:
        yield from place.entries()
    except OSError:
        return


def walk(
    root: Place,
    prefix: str,
    without: tuple[str, ...] = (),
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[str]:
    """Yield the names, from `root` on, of all files below a folder, sorted within each folder.

    Of each level only one folder's names are held at a time. A link to a folder above it, and a
    folder that cannot be listed, are yielded as if they were files: reading them gives the reason.

    Args:
        without: prefixes of folders that are left out.
        above: what tells the folders above apart.
    """
    if prefix in without:
        return
    folder = root / prefix.rstrip("/") if prefix else root
    here = _inode(folder)
    if here in above or len(above) > DEEPEST or (above and leads_up(folder)):
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
            yield from walk(root, f"{prefix}{name}/", without, inside)


def _inode(folder: Place) -> tuple[int, int] | None:
    """Return what tells a local folder from any other, by whatever path it is reached."""
    if not folder.is_local:
        return None
    try:
        status = os.stat(folder.url)
    except OSError:
        return None
    return status.st_dev, status.st_ino
