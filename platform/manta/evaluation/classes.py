"""Classes of two datasets under one numbering: what a bank and its queries are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manta.data import Manifest
from manta.errors import ConfigError

Numbers = NDArray[np.int64]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CommonClasses:
    """How the labels of a bank and of queries become numbers that stand for the same classes.

    Attributes:
        bank, queries: class by each dataset's own label; None: labels are classes already.
        names: of the classes, by number; None where they have none.
        missing: names of the queries' classes that the bank lacks.
    """

    bank: Numbers | None = None
    queries: Numbers | None = None
    names: list[str] | None = None
    missing: tuple[str, ...] = ()


def class_names(manifest: Manifest) -> list[str] | None:
    """Return the classes of a dataset by number, as names or as the values that its labels had.

    None where it has no labels, or numbers that nobody named.
    """
    if manifest.classes:
        return [str(name) for name in manifest.classes]
    values = _values(manifest)
    return None if values is None else [str(value) for value in values]


def common_classes(bank: Manifest, queries: Manifest) -> CommonClasses:
    """Return one numbering for the classes of two datasets, by what both call them.

    Classes of the queries that the bank lacks come after the bank's. Where one side has numbers
    that are no names of the other's classes, they are taken for places among them.

    Raises:
        ConfigError: both have names, and none is in both.
    """
    own, theirs = class_names(bank), class_names(queries)
    if own is None or theirs is None:
        # The numbers of one side have no other meaning than themselves, so they are what counts.
        return CommonClasses(_as_numbers(bank), _as_numbers(queries), own or theirs)
    if own == theirs:
        return CommonClasses(names=own)
    missing = [name for name in theirs if name not in set(own)]
    if len(missing) < len(theirs):
        names = own + missing
        places = {name: place for place, name in enumerate(names)}
        numbers = np.array([places[name] for name in theirs], dtype=np.int64)
        return CommonClasses(queries=numbers, names=names, missing=tuple(missing))
    if bool(bank.classes) != bool(queries.classes):
        in_bank, in_queries = _as_numbers(bank), _as_numbers(queries)
        if (in_bank is None) == bool(bank.classes) and (in_queries is None) == bool(
            queries.classes
        ):
            return CommonClasses(in_bank, in_queries, own if bank.classes else theirs)
    raise ConfigError(
        f"{bank.source} and {queries.source} have no class in common ({_listed(own)} against "
        f"{_listed(theirs)}); give both the same names, or leave --bank out"
    )


def _values(manifest: Manifest) -> Sequence[Any] | None:
    values: Sequence[Any] | None = getattr(manifest, "values", None)
    return values or None


def _as_numbers(manifest: Manifest) -> Numbers | None:
    """Return the whole number that each class was in the data; None where there are none."""
    values = _values(manifest)
    if manifest.classes or values is None:
        return None
    try:
        return np.array([int(str(value)) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        return None


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
