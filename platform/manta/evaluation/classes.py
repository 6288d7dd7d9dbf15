"""Classes of two datasets under one numbering: what a bank and its queries are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manta.data import Manifest
from manta.data.labels import told_apart
from manta.data.names import first_names
from manta.errors import ConfigError

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CommonClasses:
    """How the labels of a bank and of queries become numbers that stand for the same classes.

    Attributes:
        bank, queries: class by each dataset's own label; None: labels are classes already.
        names: of the classes, by number; None where they have none.
        missing: names of the queries' classes that the bank lacks.
        note: what was taken for granted; empty where nothing was.
    """

    bank: Numbers | None = None
    queries: Numbers | None = None
    names: list[str] | None = None
    missing: tuple[str, ...] = ()
    note: str = ""


def common_classes(bank: Manifest, queries: Manifest) -> CommonClasses:
    """Return one numbering for the classes of two datasets, by what both call them.

    Classes of the queries that the bank lacks come after the bank's. Where one side has words and
    the other numbers, those are places among the words.

    Raises:
        ConfigError: both name their classes, and none is in both.
    """
    own, theirs = bank.classes, queries.classes
    if not own or not theirs:
        # Of a dataset of an earlier version whose labels are numbers, these have no other name.
        return CommonClasses(_as_numbers(own), _as_numbers(theirs), own or theirs)
    if own == theirs:
        return CommonClasses(names=own)
    own, theirs = told_apart(own), told_apart(theirs)
    places = {name: place for place, name in enumerate(own)}
    missing = [name for name in theirs if name not in places]
    if len(missing) < len(theirs):
        places |= {name: len(own) + place for place, name in enumerate(missing)}
        numbers = np.array([places[name] for name in theirs], dtype=np.int64)
        return CommonClasses(queries=numbers, names=own + missing, missing=tuple(missing))
    in_bank, in_queries = _as_numbers(own), _as_numbers(theirs)
    if in_bank is None and in_queries is not None and max(in_queries) < len(own):
        return CommonClasses(None, in_queries, own, note=_as_places(queries, bank))
    if in_queries is None and in_bank is not None and max(in_bank) < len(theirs):
        return CommonClasses(in_bank, None, theirs, note=_as_places(bank, queries))
    raise ConfigError(
        f"{bank.source} and {queries.source} have no class in common ({first_names(own)} against "
        f"{first_names(theirs)}); give both the same names, or leave --bank out"
    )


def _as_numbers(names: Sequence[str] | None) -> Numbers | None:
    """Return the whole number that each class is called by; None where one is a word."""
    try:
        numbers = [int(name) for name in names or ()]
        return np.array(numbers, dtype=np.int64) if numbers and min(numbers) >= 0 else None
    except (ValueError, OverflowError):
        return None


def _as_places(numbers: Manifest, words: Manifest) -> str:
    return (
        f"classes of {numbers.source} are numbers, and taken for places among those of "
        f"{words.source} ({first_names(words.classes or [])})"
    )
