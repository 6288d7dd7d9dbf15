"""Preprocessing of series, which travels with an exported encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.batch import ViewNeeds
from manta.modalities import Decoder
from manta.modalities.preprocess import Preprocess, Signature
from manta.modalities.series.decoder import FLAT, LEAF, SeriesDecoder
from manta.modalities.series.stretch import cut
from manta.modalities.series.views import SeriesViews, SeriesViewsConfig
from manta.ragged import Data, Ragged
from manta.spec import Spec

_TRACED = 37
"""Length of an input to trace, which no setting has."""


class SeriesPreprocess(Preprocess):
    """Preprocessing of float32 series of any length into what an encoder was evaluated on.

    The steps are those of `SeriesDecoder` and of plain views: values are normalised, then stretched
    to `length` by linear interpolation. Missing values are interpolated by the decoder; here, where
    the graph of an exported model has to do it, they get the mean of their channel. Channels are
    given in the order of the decoder's names.

    Args:
        decoder: of the rows that the encoder was trained on.
        length: that the encoder takes; None: any.
    """

    modality = "series"
    mean: Tensor
    std: Tensor

    def __init__(self, decoder: SeriesDecoder, length: int | None) -> None:
        super().__init__()
        self._decoder, self.length = decoder, length
        self.spec = Spec("sequence", decoder.channels, (length,))
        self.signature = Signature("series", "float32", (-1, -1, decoder.channels))
        self.register_buffer("mean", torch.tensor(decoder.mean or (0.0,) * decoder.channels))
        self.register_buffer("std", torch.tensor(decoder.std or (1.0,) * decoder.channels))

    def forward(self, series: Tensor) -> Tensor:
        """Return prepared series, `[N, C, length]`, or `[N, C, T]` where any length will do.

        Args:
            series: `[N, T, C]` float32.
        """
        whole = self._normalised(series).transpose(1, 2)
        return whole if self.length is None else self._stretched(whole)

    def ready(self, data: Mapping[str, Data]) -> Data:
        """Return the output of `forward` for decoded rows.

        Args:
            data: `series` `[N, T, C]`, or ragged rows `[T, C]`.
        """
        series = cast("Tensor | Ragged", data[LEAF])
        if isinstance(series, Tensor):
            whole = series.float().transpose(1, 2)
            return whole.contiguous() if self.length is None else self._stretched(whole)
        if self.length is None:
            return series
        values, _ = series.padded()
        starts = torch.zeros_like(series.lengths)
        return cut(values, starts, series.lengths, self.length).transpose(1, 2).contiguous()

    def decoder(self) -> Decoder:
        return self._decoder

    def views(self, needs: ViewNeeds) -> SeriesViews:
        decoder = self._decoder
        unit = decoder.std if decoder.normalise == "none" and decoder.std else (1.0,)
        config = SeriesViewsConfig(preset="simclr")
        return SeriesViews(
            config, needs, spec=self.spec, longest=decoder.length or decoder.longest, unit=unit
        )

    def examples(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        channels, usual = self._decoder.channels, self.length or 64
        sizes = ((1, usual), (2, 2 * usual + 1), (5, max(usual // 2, 8)))
        walks = [torch.randn(n, t, channels, generator=generator).cumsum(1) for n, t in sizes]
        return [0.1 * walk + 3 for walk in walks]

    def traced(self) -> Tensor:
        # torch.export would take a batch of one for a constant.
        generator = torch.Generator().manual_seed(1)
        return torch.randn(2, _TRACED, self._decoder.channels, generator=generator)

    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data."""
        return {**self.spec.describe(), "length": self.length, "decoder": asdict(self._decoder)}

    def _normalised(self, series: Tensor) -> Tensor:
        """Return `[N, T, C]` normalised as the decoder does, missing values at the mean."""
        there = torch.isfinite(series)
        known = torch.where(there, series, torch.zeros_like(series))
        count = there.sum(1, keepdim=True).clamp(min=1)
        mean = known.sum(1, keepdim=True) / count
        whole = torch.where(there, series, mean)
        if self._decoder.normalise == "none":
            return whole
        if self._decoder.normalise == "data":
            return (whole - self.mean) / self.std
        centred = whole - mean
        deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
        is_flat = deviation <= FLAT * known.abs().amax(1, keepdim=True)
        scaled = centred / torch.where(is_flat, torch.ones_like(deviation), deviation)
        return torch.where(is_flat, torch.zeros_like(scaled), scaled)

    def _stretched(self, whole: Tensor) -> Tensor:
        """Return `[N, C, length]` of `[N, C, T]`."""
        common = self._decoder.length
        if common is not None and common != self.length:
            # Rows are decoded to this length before views stretch them to that of the encoder.
            whole = F.interpolate(whole, size=common, mode="linear")
        return F.interpolate(whole, size=self.length, mode="linear")
