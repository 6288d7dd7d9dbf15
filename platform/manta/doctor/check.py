"""Result of one check of the doctor, and helpers that several checks use."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "bad"]
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check: what was found and, unless it is fine, one line on how to fix it."""

    name: str
    status: Status
    found: str
    mend: str = ""


def installed_version(name: str) -> str:
    """Return the version of an installed distribution, or "missing"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    path = path.resolve()
    return next(place for place in (path, *path.parents) if place.exists())


def one_line(error: Exception) -> str:
    """Return the type and the message of an error in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
