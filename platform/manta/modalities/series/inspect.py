"""Inspection of series while data are ingested: checks, and measures that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from manta.modalities import BadSample
from manta.modalities.series.packing import unpack

Measures = Mapping[str, Any]
"""Plain data on some rows: `rows`, `channels` (rows by number of channels), `names`, `shortest`,
`longest`, and of each channel the `count` of its values, their `sum` and that of their `squares`.
"""
_SUMS = ("count", "sum", "squares")


def inspect(data: bytes) -> Measures:
    """Return the measures of one row.

    Raises:
        BadSample: it is no series, or holds no number.
    """
    values, names = unpack(data)
    if values.size == 0:
        raise BadSample("has no value")
    there = np.isfinite(values)
    if not there.any():
        raise BadSample("has no finite value")
    known = np.where(there, values, 0).astype(np.float64)
    return {
        "rows": 1,
        "channels": {str(values.shape[1]): 1},
        "names": list(names),
        "shortest": len(values),
        "longest": len(values),
        "count": there.sum(axis=0).tolist(),
        "sum": known.sum(axis=0).tolist(),
        "squares": np.square(known).sum(axis=0).tolist(),
    }


def merge(parts: Iterable[Measures]) -> Measures:
    """Return the measures of all parts together; of none, none."""
    measured = [part for part in parts if part]
    if not measured:
        return {}
    channels = Counter[str]()
    for part in measured:
        channels.update(part["channels"])
    return {
        "rows": sum(part["rows"] for part in measured),
        "channels": dict(channels),
        "names": next((part["names"] for part in measured if part["names"]), []),
        "shortest": min(part["shortest"] for part in measured),
        "longest": max(part["longest"] for part in measured),
        **{name: _added([part[name] for part in measured]) for name in _SUMS},
    }


def channel_count(stats: Measures) -> int | None:
    """Return the number of channels that most rows have; None where nothing was measured."""
    counts = stats.get("channels")
    return int(max(counts, key=counts.__getitem__)) if counts else None


def moments(stats: Measures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel; the deviation of a flat one is 1."""
    count = np.maximum(np.array(stats["count"], dtype=np.float64), 1)
    mean = np.array(stats["sum"]) / count
    variance = np.maximum(np.array(stats["squares"]) / count - np.square(mean), 0)
    # Less than this of the squares is what their subtraction has lost.
    is_flat = variance <= 1e-12 * np.square(mean)
    std = np.where(is_flat, 1.0, np.sqrt(np.where(is_flat, 1.0, variance)))
    return tuple(mean.tolist()), tuple(std.tolist())


def _added(lists: list[list[float]]) -> list[float]:
    """Return the sums by channel of lists that may be of unequal lengths."""
    out = np.zeros(max(map(len, lists)))
    for one in lists:
        out[: len(one)] += one
    return out.tolist()
