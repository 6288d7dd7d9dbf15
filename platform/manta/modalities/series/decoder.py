"""Decoder of series into one leaf: gaps are filled, channels chosen, values normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from manta.leaves import Array, Layout, Leaf
from manta.modalities import BadSample, Draw
from manta.modalities.series.packing import Series, Values, unpack

Whole = npt.NDArray[np.float64]
Normalise = Literal["row", "data", "none"]
LEAF = "series"
FLAT = 1e-6
"""Share of its largest absolute value below which a channel's deviation is rounding."""


@dataclass(frozen=True)
class SeriesDecoder:
    """Decoder of a series into `{"series": [T, channels] float32}`.

    Args:
        channels: of every row.
        names: of the channels to take, in this order; empty: all.
        length: T of every row, to which others are stretched; None: each row has its own.
        longest: largest T of such a row; of a longer one a part of this length is taken, drawn in
            training and the middle in evaluations.
        cuts: whether there may be longer rows.
        normalise: "row": every channel of a row to mean 0 and deviation 1; "data": by `mean` and
            `std`; "none": values as they are.
        mean, std: of each channel.
    """

    channels: int
    names: tuple[str, ...] = ()
    length: int | None = None
    longest: int = 4096
    cuts: bool = True
    normalise: Normalise = "row"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def layout(self) -> Layout:
        most = self.longest if self.length is None else None
        return {LEAF: Leaf("float32", (self.length, self.channels), most)}

    @property
    def draws(self) -> bool:
        return self.cuts and self.length is None

    def __call__(self, data: bytes, draw: Draw | None) -> dict[str, Array]:
        values = self._chosen(unpack(data))
        if self.length is None and len(values) > self.longest:
            free = len(values) - self.longest
            start = free // 2 if draw is None else draw.below(free + 1)
            values = values[start : start + self.longest]
        whole = self._normalised(filled(values))
        if self.length is not None and len(whole) != self.length:
            whole = stretched(whole, self.length)
        return {LEAF: whole.astype(np.float32)}

    def _chosen(self, series: Series) -> Values:
        """Return the channels to take, `[T, channels]`.

        Raises:
            BadSample: the series lacks one of them, or has no value.
        """
        values, names = series
        if len(values) == 0:
            raise BadSample("has no value")
        if self.names:
            missing = [name for name in self.names if name not in names]
            if missing:
                raise BadSample(f"has no channel {missing[0]!r}")
            values = values[:, [names.index(name) for name in self.names]]
        if values.shape[1] != self.channels:
            raise BadSample(f"has {values.shape[1]} channels, and {self.channels} are taken")
        return values

    def _normalised(self, values: Whole) -> Whole:
        if self.normalise == "none":
            return values
        if self.normalise == "data":
            by_data: Whole = (values - np.array(self.mean)) / np.array(self.std)
            return by_data
        centred = values - values.mean(axis=0)
        deviation = np.sqrt(np.square(centred).mean(axis=0))
        is_flat = deviation <= FLAT * np.abs(values).max(axis=0)
        return np.where(is_flat, 0.0, centred / np.where(is_flat, 1.0, deviation))


def filled(values: Values) -> Whole:
    """Return `[T, C]` in which missing and infinite values are interpolated linearly in time.

    Before the first and after the last value of a channel is the nearest; a channel without a
    value is 0.
    """
    whole = values.astype(np.float64)
    there = np.isfinite(whole)
    time = np.arange(len(whole))
    for channel in np.flatnonzero(~there.all(axis=0)):
        known = there[:, channel]
        at, found = time[known], whole[known, channel]
        whole[:, channel] = np.interp(time, at, found) if len(at) else 0.0
    return whole


def stretched(values: Whole, length: int) -> Whole:
    """Return `[length, C]`, values interpolated linearly at the centres of `length` equal parts.

    As torch's `interpolate` does without `align_corners`.
    """
    last = len(values) - 1
    places = ((np.arange(length) + 0.5) * len(values) / length - 0.5).clip(0, last)
    below = np.floor(places).astype(np.int64)
    share = (places - below)[:, None]
    whole: Whole = values[below] * (1 - share) + values[np.minimum(below + 1, last)] * share
    return whole
