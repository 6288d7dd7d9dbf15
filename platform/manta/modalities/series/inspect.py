"""Inspection of series at an ingest: checks, and measures that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from manta.errors import DataError
from manta.modalities import BadSample, Inspected, Stats
from manta.modalities.series.packing import unpack

_MOMENTS = ("count", "sum", "squares")
_NAMED = "channel {} is "


@dataclass(frozen=True)
class SeriesInspector:
    """Inspector that keeps series with a finite value as they are.

    The length of one is that of its time axis. Measured are `length` and `channels` of every row,
    and of some rows count, sum and squares of each channel's finite values.

    Args:
        names: of channels that a series must have.
    """

    names: tuple[str, ...] = ()
    column: ClassVar[str] = "series"

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        values, names = unpack(data)
        if values.size == 0:
            raise BadSample("has no value")
        there = np.isfinite(values)
        if not there.any():
            raise BadSample("has no finite value")
        missing = [name for name in self.names if name not in names]
        if missing:
            raise BadSample(f"has no channel {missing[0]!r}")
        length, channels = values.shape
        measures: dict[str, float] = {"length": length, "channels": channels}
        if measure:
            measures |= {_NAMED.format(i) + name: 1.0 for i, name in enumerate(names)}
            known = np.where(there, values, 0).astype(np.float64)
            moments = (there.sum(0), known.sum(0), np.square(known).sum(0))
            for moment, of_channels in zip(_MOMENTS, moments, strict=True):
                measures |= {f"{moment} {i}": float(one) for i, one in enumerate(of_channels)}
        return Inspected(data, length, measures)


def channel_count(stats: Stats) -> int | None:
    """Return the number of channels of every row; None where nothing was measured.

    Raises:
        DataError: they differ.
    """
    if "channels" not in stats:
        return None
    least, most = int(stats["channels"]["least"]), int(stats["channels"]["most"])
    if least != most:
        raise DataError(
            f"the series have {least} to {most} channels; name those that all of them have by "
            "data.channels, or ingest them apart"
        )
    return most


def lengths(stats: Stats) -> tuple[int, int] | None:
    """Return the shortest and the longest length; None where nothing was measured."""
    measured: Mapping[str, float] | None = stats.get("length")
    return (int(measured["least"]), int(measured["most"])) if measured else None


def names_of(stats: Stats) -> list[str]:
    """Return the names of the channels, in their order; none where they have none."""
    names: list[str] = []
    while True:
        start = _NAMED.format(len(names))
        name = next((key.removeprefix(start) for key in stats if key.startswith(start)), None)
        if name is None:
            return names
        names.append(name)


def moments(stats: Stats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel; the deviation of a flat one is 1."""
    channels = int(stats["channels"]["most"])
    count, total, squares = (
        np.array([stats[f"{moment} {i}"]["sum"] for i in range(channels)]) for moment in _MOMENTS
    )
    count = np.maximum(count, 1)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)
    # Less than this of the squares is what their subtraction has lost.
    is_flat = variance <= 1e-12 * np.square(mean)
    std = np.where(is_flat, 1.0, np.sqrt(np.where(is_flat, 1.0, variance)))
    return tuple(mean.tolist()), tuple(std.tolist())
