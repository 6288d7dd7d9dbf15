"""Mean and deviation of log-mel levels over time, the floor of clips."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor

from manta.modalities import Floor
from manta.modalities.audio.config import AudioConfig
from manta.modalities.audio.decoder import LEAF
from manta.modalities.audio.features import Features
from manta.modalities.audio.mel import Bands
from manta.ragged import Leaves, Ragged

_MELS, _WINDOW, _HOP = 64, 0.064, 0.01
"""Bands, and seconds of window and hop, where the encoder is given the waves themselves."""
_AT_ONCE = 1 << 20
"""Samples that are transformed at a time, which bounds the memory."""


class LogMelStatistics(Floor):
    """Mean and deviation over a whole clip of each log-mel band, `[B, 2 * mels]`."""

    title: ClassVar[str] = "statistics of log-mel bands"

    def __init__(self, data: AudioConfig) -> None:
        rate = data.sample_rate
        bands = data.bands or Bands.of(rate, _MELS, _WINDOW, _HOP)
        self._bands = bands
        self._features = Features(rate, data.samples, bands, 0.0, 1.0)

    @torch.no_grad()
    def __call__(self, data: Leaves) -> Tensor:
        waves = cast(Ragged, data[LEAF])
        longest = int(waves.lengths.max()) if len(waves) else 1
        step = max(_AT_ONCE // longest, 1)
        starts = range(0, len(waves), step)
        parts = [self._statistics(waves.rows(slice(at, at + step))) for at in starts]
        return torch.cat(parts or [torch.empty(0, 2 * self._bands.mels)])

    def _statistics(self, waves: Ragged) -> Tensor:
        padded, _ = waves.padded()
        levels = self._features.levels(padded)
        frames = (1 + waves.lengths // self._bands.hop).view(-1, 1, 1)
        there = torch.arange(levels.shape[2]) < frames
        mean = (levels * there).sum(2, keepdim=True) / frames
        variance = ((levels - mean).square() * there).sum(2, keepdim=True) / frames
        return torch.cat([mean, variance.sqrt()], dim=1).squeeze(2)
