"""Base class of source adapters, and the choice of the adapter for a location."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, TypeVar

from manta.errors import DataError
from manta.files import Place
from manta.registry import Registry

T = TypeVar("T")
WorkUnit = Any
"""Work of one read task: a small picklable value that its own adapter understands."""

FILES_PER_UNIT = 256
"""Files of a work unit, in the adapters of single files."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded image, or the reason why it could not be read.

    Attributes:
        path: name of the sample for people; relative to the source where possible.
        data: encoded bytes; None if they could not be read.
        label: number of its class, if it has one.
        reason: why the bytes could not be read.
    """

    path: str
    data: bytes | None
    label: int | None = None
    reason: str | None = None


class Source(ABC):
    """Adapter that turns a location into a stream of work units, and a unit into samples.

    Both must be deterministic, so that an interrupted ingest can find its place again. An adapter
    is registered by `@SOURCES.register(name)`; it is pickled, so it may hold plain data only.
    """

    kind: ClassVar[str]

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    @abstractmethod
    def claim(cls, place: Place) -> int:
        """Return whether this adapter can read the location.

        0: no. 1: yes, unless another adapter is sure. 2: certainly.
        """

    @abstractmethod
    def units(self) -> Iterator[WorkUnit]:
        """Yield the work units in a stable order, listing them lazily."""

    @abstractmethod
    def read(self, unit: WorkUnit) -> Iterator[Sample]:
        """Yield the samples of a unit in a stable order.

        A file that cannot be read becomes a Sample with a reason, not an exception.
        """

    def classes(self) -> list[str] | None:
        """Return the names of the labels, or None."""
        return None

    def identity(self) -> list[Any]:
        """Return values that change with the location's content and are cheap to find out."""
        return list(self.place.identity())


SOURCES: Registry[type[Source]] = Registry("sources", "manta.data.sources")


def open_source(location: str | os.PathLike[str]) -> Source:
    """Return the adapter for a location.

    Raises:
        DataError: the location does not exist, or no adapter can read it.
    """
    text = os.fspath(location)
    builtin = next(
        (cls for name, cls in SOURCES.items() if name == text and cls.claim(Place(text)) == 2), None
    )
    if builtin is not None and not os.path.exists(text):
        return builtin(Place(text))
    place = Place.of(text)
    if not place.is_glob and not place.exists():
        raise DataError(
            f"nothing at {text}; give a folder of images, Parquet, tars, a file list, or 'digits'"
        )
    claims = [(cls.claim(place), name) for name, cls in SOURCES.items()]
    surest, name = max(claims)
    if surest == 0:
        raise DataError(
            f"{text} is of no known kind ({', '.join(SOURCES)}); a file list ends in .txt, .csv or "
            ".tsv, a table in .parquet, an archive in .tar"
        )
    return SOURCES[name](place)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` items, lazily."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def read_files(files: Iterable[tuple[Place, str, int | None]]) -> Iterator[Sample]:
    """Yield samples of single image files, given as `(place, name, label)`."""
    for place, name, label in files:
        try:
            yield Sample(name, place.read(), label)
        except (OSError, ValueError) as error:
            yield Sample(
                name, None, label, f"cannot be read: {getattr(error, 'strerror', None) or error}"
            )


def matching(place: Place, suffixes: tuple[str, ...]) -> list[Place]:
    """Return the files with these suffixes that a path, a pattern or a folder stands for.

    Raises:
        DataError: there are none.
    """
    if place.is_glob:
        files = [file for file in place.glob() if file.suffix in suffixes]
    elif place.is_dir():
        names = sorted(name for name, is_dir in place.entries() if not is_dir)
        files = [place / name for name in names if (place / name).suffix in suffixes]
    else:
        files = [place]
    if not files:
        raise DataError(
            f"no {' or '.join(suffixes)} file matches {place.url}; look for a typing error in the "
            "pattern"
        )
    return files


def holds(place: Place, suffixes: tuple[str, ...]) -> bool:
    """Return whether the location is, or contains, files with one of these suffixes.

    In a folder only the first 100 files are looked at.
    """
    if place.suffix in suffixes and not place.is_dir():
        return True
    if not place.is_dir():
        return False
    first = islice((name for name, is_dir in place.entries() if not is_dir), 100)
    return any(os.path.splitext(name)[1].lower() in suffixes for name in first)
