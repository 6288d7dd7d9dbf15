"""Contract of the odd corpus: an input made by a few lines of code, and what should come of it."""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """Odd data, and what an ingest should make of them.

    Attributes:
        name: unique: topic/what.
        make: writes files below an empty folder and returns the location to ingest.
        rows: number of rows that are good.
        labels: class number of each row in order, None for none; None for data without labels;
            "any" is not checked.
        classes: names by number; "any" is not checked.
        quarantined: path of each sample set aside, with a part of the reason.
        pixels: by row, the image (any size) or its one colour; within 6 levels in the mean.
        splits: parts of the data; the rows of the one that is read, None for others.
        notes: texts that the lines of `manta ingest` must contain.
        error: part of the one line by which the data are refused; nothing else is checked then.
        options: `split`, `column`, `labels`, `group` of the ingest.
    """

    name: str
    make: Callable[[Path], str | Path]
    rows: int | None = None
    labels: Sequence[int | None] | Literal["any"] | None = "any"
    classes: Sequence[str] | Literal["any"] | None = "any"
    quarantined: Mapping[str, str] = field(default_factory=dict)
    pixels: Mapping[int, Pixels | Colour] = field(default_factory=dict)
    splits: Mapping[str, int | None] = field(default_factory=dict)
    notes: Sequence[str] = ()
    error: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command in an odd place or with odd words, run in this process without Ray.

    Attributes:
        make: prepares the working folder.
        words: of the command, after `manta`.
        output: part of what is printed; checked if given.
        error: part of the one line of the error; the status is then 2.
    """

    name: str
    make: Callable[[Path], Any]
    words: Sequence[str]
    output: str | None = None
    error: str | None = None
    status: int = 0


def all_cases(kind: str) -> list[Any]:
    """Return the cases of all topics: the lists `CASES` or `COMMANDS` of `odd/cases/*.py`."""
    package = importlib.import_module("odd.cases")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"odd.cases.{name}") for name in names]
    return [case for module in modules for case in getattr(module, kind, ())]


def picture(colour: Colour = (200, 60, 20), size: tuple[int, int] = (24, 24)) -> Image.Image:
    """Return an image of one colour."""
    return Image.new("RGB", size, colour)


def encoded(colour: Colour = (200, 60, 20), format: str = "PNG", **options: Any) -> bytes:
    """Return an image of one colour as the bytes of a file."""
    file = io.BytesIO()
    picture(colour).save(file, format, **options)
    return file.getvalue()


def write(path: Path, data: bytes | str | None = None) -> Path:
    """Write a file with its folders, an image if nothing else is given; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = encoded() if data is None else data
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tree(folder: Path, *names: str) -> Path:
    """Write an image of a colour of its own at each path below a folder; return the folder."""
    for number, name in enumerate(names):
        write(folder / name, encoded(colour_of(number)))
    return folder


def colour_of(number: int) -> Colour:
    """Return the colour of the image that `tree` writes at a position."""
    return (40 + 37 * number % 200, 30 + 61 * number % 200, 20 + 89 * number % 200)


CLASSES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
"""Paths of images in folders of two classes."""


def images(*names: str) -> Callable[[Path], Path]:
    """Return a maker of images at these paths."""
    return lambda folder: tree(folder, *names)


def with_files(*names: str, images: tuple[str, ...] = CLASSES) -> Callable[[Path], Path]:
    """Return a maker of images and, beside or inside their folders, of other files."""

    def make(folder: Path) -> Path:
        tree(folder, *images)
        for name in names:
            write(folder / name, "name,label\n")
        return folder

    return make
