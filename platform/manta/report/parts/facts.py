"""A fact of a page: a name and a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that describes a run, with a smaller note."""

    title: str
    value: str
    note: str = ""
