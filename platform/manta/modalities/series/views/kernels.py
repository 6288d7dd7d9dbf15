"""Kernels of the views of series; each takes `[B, n, C]` rows and arguments of every row."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.modalities.series.views.draws import Order
from manta.splitmix import GOLDEN, mix

_LOWER_53 = (1 << 53) - 1
SCALING, JITTER = 1, 2
"""Purposes of noise, which have numbers of their own."""


def places(lengths: Tensor, most: int, order: Order, backwards: Tensor) -> Tensor:
    """Return `[B, most]` the places of a window in the order in which they are taken.

    Args:
        lengths: `[B]` of the windows; places after the last are no places of the window.
        order: of its segments.
        backwards: `[B]` bool, time runs backwards, after the segments have changed places.
    """
    at = torch.arange(most, device=lengths.device).expand(len(lengths), most)
    at = torch.where(backwards.unsqueeze(1), lengths.unsqueeze(1) - 1 - at, at).clamp(min=0)
    segment = torch.searchsorted(order.ends, at.contiguous(), right=True)
    segment = segment.clamp_(max=order.ends.shape[1] - 1)
    return at + order.shifts.gather(1, segment)


def normal(keys: Tensor, purpose: int, length: int, channels: int) -> Tensor:
    """Return `[B, length, channels]` float32 of mean 0 and deviation 1, a hash of `keys: [B]`."""
    counters = torch.arange(1, 2 * length * channels + 1, device=keys.device)
    words = mix(mix(mix(keys) + purpose).unsqueeze(1) + counters * GOLDEN)
    uniform = ((words & _LOWER_53).double() + 0.5) / (1 << 53)
    radius, turns = uniform.view(len(keys), length, channels, 2).unbind(3)
    return ((-2 * radius.log()).sqrt() * (2 * math.pi * turns).cos()).float()


def rescale(rows: Tensor, keys: Tensor, happens: Tensor, deviation: float) -> Tensor:
    """Return rows of which each channel is multiplied by a factor around 1."""
    factors = 1 + deviation * normal(keys, SCALING, 1, rows.shape[2])
    return rows * torch.where(happens.view(-1, 1, 1), factors, 1.0)


def jitter(rows: Tensor, keys: Tensor, happens: Tensor, deviation: float, unit: Tensor) -> Tensor:
    """Return rows with noise; its deviation is in the units `[C]` of the channels."""
    noise = normal(keys, JITTER, rows.shape[1], rows.shape[2]) * (deviation * unit)
    return rows + torch.where(happens.view(-1, 1, 1), noise, 0.0)


def lose_band(rows: Tensor, low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return rows without a band of frequencies; their mean stays.

    Args:
        low, high: `[B]` its edges, in shares of the highest frequency.
        length: at least n; rows are continued by zeros to it, so that what is lost of a row does
            not depend on how long others of the batch are.
    """
    spectrum = torch.fft.rfft(rows, n=length, dim=1)
    share = torch.arange(spectrum.shape[1], device=rows.device) / max(spectrum.shape[1] - 1, 1)
    lost = (share >= low.unsqueeze(1)) & (share < high.unsqueeze(1)) & (share > 0)
    kept = spectrum.masked_fill(lost.unsqueeze(2), 0)
    whole: Tensor = torch.fft.irfft(kept, n=length, dim=1)
    return whole[:, : rows.shape[1]]
