"""Rows of a list of files, and the form in which they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manta.data.sources._base import Label


@dataclass(frozen=True, slots=True)
class Entry:
    """Row of a list.

    Attributes:
        path: path, URL or base64 of an image, as it stands there.
        split: value of the column that tells the part.
        reason: why the row names no image.
        group: value of the column that tells what belongs together.
        number: its line or record, from 1.
    """

    path: str
    label: Label = None
    split: str | None = None
    reason: str | None = None
    number: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """How the rows of a list are read.

    Attributes:
        columns: names of its columns; numbers from 1 if it has no header.
        path, label, split, group: positions of columns (of a `.txt` or table), or keys (of JSON).
        skipped: number of rows of the header.
        separator: None: whole lines, or `pattern`.
        notes: what is not as one would expect.
    """

    columns: list[str]
    path: Any
    label: Any = None
    split: Any = None
    skipped: int = 0
    separator: str | None = None
    pattern: re.Pattern[str] | None = None
    notes: tuple[str, ...] = ()
    group: Any = None
