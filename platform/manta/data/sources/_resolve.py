"""Files that a list or a table names by paths: where each one is, and its bytes."""

from __future__ import annotations

import ntpath
import os
import stat
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from manta.data.names import shown
from manta.errors import MantaError
from manta.files import Place

_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".JPEG", ".PNG", ".webp", ".tif", ".bmp")
"""Endings that are tried for names without one, as tables of ids have them."""
_FOLDERS = ("images", "imgs", "img", "photos", "train", "data")
"""Folders beside a list in which files may lie whose paths do not say so."""


def read_named(text: str, folders: list[Place]) -> tuple[bytes | None, str | None]:
    """Return the bytes of a file, or None and the reason why it cannot be read.

    Args:
        text: its path or URL as the list has it.
        folders: where relative paths may begin, the most likely one first.
    """
    try:
        place = locate(text, folders)
        if place.is_local and not stat.S_ISREG(os.stat(place.url).st_mode):
            return None, "not a file"
        return place.read(), None
    except (OSError, ValueError, ImportError, MantaError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return None, f"cannot be read: {shown(' '.join(reason.split()))}"[:300]


def locate(text: str, folders: list[Place]) -> Place:
    """Return the place of a file, whether or not it exists.

    On a local disk the first spelling that exists is taken: as it stands, with the slashes of
    Windows turned, with `~` for the home folder, with the ending of an image if it has none.
    """
    if "://" in text and not text.lower().startswith("file://"):
        return Place.of(text)
    candidates = [place for word in _spellings(text) for place in _places(word, folders)]
    return next((place for place in candidates if _is_there(place)), candidates[0])


def folders_of(paths: list[str], folder: Place, names: Iterable[str] = ()) -> list[Place]:
    """Return the folder in which the relative paths of a list begin, with its own folder last.

    Args:
        paths: some of the paths.
        folder: the folder that holds the list.
        names: further folders beside the list to look in.
    """
    if not folder.is_local or any(locate(path, [folder]).exists() for path in paths):
        return [folder]
    beside = [folder / name for name in (*names, *_FOLDERS)]
    above = [folder.parent, *(folder.parent / name for name in _FOLDERS)]  # meta/train.txt
    for other in (*beside, *above):
        if other.is_dir() and any(_is_there(locate(path, [other])) for path in paths):
            return [other, folder]
    return [folder]


def exists(text: str, folders: list[Place]) -> bool:
    """Return whether a listed file exists; URLs are taken to exist."""
    place = locate(text, folders)
    return not place.is_local or _is_there(place)


def _spellings(text: str) -> Iterator[str]:
    if text.lower().startswith("file://"):
        yield text[len("file://") :]
        yield unquote(urlsplit(text).path)
        return
    yield text
    if text.startswith("~"):
        yield os.path.expanduser(text)
    if "\\" in text:
        yield (
            ntpath.splitdrive(text)[1].replace("\\", "/")
            if text[1:2] == ":"
            else text.replace("\\", "/")
        )
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        yield os.fsencode(text).decode("cp1252", "replace")
    if not os.path.splitext(text)[1] and not text.endswith("/"):
        yield from (f"{text}{suffix}" for suffix in _SUFFIXES)


def _places(word: str, folders: list[Place]) -> list[Place]:
    return [Place(word)] if word.startswith("/") else [folder / word for folder in folders]


def _is_there(place: Place) -> bool:
    # The stores of objects are not asked: a request for each file of a list would take long.
    try:
        return place.is_local and os.path.exists(place.url)
    except ValueError:  # a zero byte in the name
        return False
