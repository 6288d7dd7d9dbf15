"""The contract of a source adapter, and how a location finds its adapter."""

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
"""A piece of work of one read task: small, picklable, meaningful to its own adapter."""

FILES_PER_UNIT = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded image, or why there is none.

    Attributes:
        path: names the sample for people; relative to the source where it can be.
        data: encoded bytes; None if they could not be read.
        reason: why not.
    """

    path: str
    data: bytes | None
    label: int | None = None
    reason: str | None = None


class Source(ABC):
    """Turns a location into a stream of work units, and a unit into samples.

    Both are deterministic, so that an interrupted ingest finds its place again. An adapter is
    registered by `@SOURCES.register(name)` and crosses process borders, so it holds plain data
    only.
    """

    kind: ClassVar[str]

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    @abstractmethod
    def claim(cls, place: Place) -> int:
        """Return how surely the location is of this kind: 0 no, 1 if nobody knows better, 2 yes."""

    @abstractmethod
    def units(self) -> Iterator[WorkUnit]:
        """Units in a stable order, listed while they are asked for."""

    @abstractmethod
    def read(self, unit: WorkUnit) -> Iterator[Sample]:
        """Samples of a unit in a stable order. What cannot be read is a Sample with a reason, not
        an exception."""

    def classes(self) -> list[str] | None:
        """Names of the labels, or None."""
        return None

    def identity(self) -> list[Any]:
        """Return what tells two states of the location apart, cheaply."""
        return list(self.place.identity())


SOURCES: Registry[type[Source]] = Registry("sources", "manta.data.sources")


def open_source(location: str | os.PathLike[str]) -> Source:
    """Return the adapter for what the location is.

    Raises:
        DataError: nothing is there, or no adapter knows it.
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
    """Yield lists of up to `size` items, each made when asked for."""
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
    """Return the files that a file, a pattern or a folder means.

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
    """Return whether the location means files of these kinds; of a folder only the first entries
    are looked at."""
    if place.suffix in suffixes and not place.is_dir():
        return True
    if not place.is_dir():
        return False
    first = islice((name for name, is_dir in place.entries() if not is_dir), 100)
    return any(os.path.splitext(name)[1].lower() in suffixes for name in first)
