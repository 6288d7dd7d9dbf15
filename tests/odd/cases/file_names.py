"""Names of files that are not UTF-8, or hold what has a meaning elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from odd.case import Case, colour_of, encoded

ODD = [b"caf\xe9.png", b"caf\xe8.png", b"\xd0\xa4.png", rb"caf\xe9.png"]


def named(*names: bytes) -> Callable[[Path], Path]:
    """Return a function that writes an image of each name, each of its own colour."""

    def make(folder: Path) -> Path:
        for number, name in enumerate(names):
            path = folder / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(colour_of(number)))
        return folder

    return make


def bad(folder: Path) -> Path:
    named(*ODD)(folder)
    (folder / os.fsdecode(b"b\xff.png")).write_bytes(b"no image")
    (folder / r"b\xff.png").write_bytes(b"no image either")
    return folder


def classes(folder: Path) -> Path:
    return named(b"caf\xe9/0.png", b"tea/0.png")(folder)


def below(folder: Path) -> Path:
    inner = folder / os.fsdecode(b"photos \xe9")
    return named(b"a.png", b"b.png")(inner)


def listed(folder: Path) -> Path:
    named(*ODD)(folder)
    (folder / "list.txt").write_bytes(b"\n".join(ODD[:2]) + b"\n")
    return folder / "list.txt"


def listed_as_windows_writes(folder: Path) -> Path:
    named("café.png".encode())(folder)
    (folder / "list.csv").write_bytes("path;label\ncafé.png;thé\n".encode("cp1252"))
    return folder / "list.csv"


CASES: list[Case] = [
    Case("file_names/not_utf8", named(*ODD), rows=4, labels=None),
    Case(
        "file_names/shown_apart",
        bad,
        rows=4,
        quarantined={r"b\xff.png": "not an image", r"b\\xff.png": "not an image"},
    ),
    Case("file_names/class_folders", classes, rows=2, labels=[0, 1], classes=[r"caf\xe9", "tea"]),
    Case("file_names/folder_above", below, rows=2),
    Case("file_names/listed", listed, rows=2, pixels={1: colour_of(1)}),
    Case(
        "file_names/listed_in_latin",
        listed_as_windows_writes,
        rows=1,
        labels=[0],
        classes=["thé"],
    ),
    Case(
        "file_names/marks",
        named(b"a [1].png", b"b%20.png", b"c#d?.png", b"e*.png", b"f'\".png", b"-g.png"),
        rows=6,
    ),
    Case("file_names/line_break", named(b"a\nb.png", b"tab\t.png"), rows=2),
]
