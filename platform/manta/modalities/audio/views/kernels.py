"""Kernels of the views of clips: of waves `[B, T]` and of levels `[B, bands, frames]`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.splitmix import GOLDEN, mix

_LOWER_53 = (1 << 53) - 1


def add_noise(waves: Tensor, keys: Tensor, noisy: Tensor, snr: Tensor) -> Tensor:
    """Return waves with white noise, `snr` dB below each wave's own power where `noisy`."""
    power = waves.square().mean(1)
    amount = (power * 10 ** (-snr.to(waves.dtype) / 10)).sqrt()
    amount = torch.where(noisy, amount, 0.0).unsqueeze(1)
    return waves + amount * normal(keys, waves.shape[1]).to(waves.dtype)


def blend_waves(waves: Tensor, place: Tensor, share: Tensor) -> Tensor:
    """Return waves with other ones of them, at `place: [B]`, which make up a share of the power."""
    other = share.to(waves.dtype).unsqueeze(1)
    return (1 - other).sqrt() * waves + other.sqrt() * waves[place]


def blend_levels(levels: Tensor, place: Tensor, share: Tensor) -> Tensor:
    """Return the log levels of such a mixture, of those of its parts: powers are added."""
    other = share.to(levels.dtype).view(-1, 1, 1)
    return torch.logaddexp(levels + (1 - other).log(), levels[place] + other.log())


def normal(keys: Tensor, length: int) -> Tensor:
    """Return `[B, length]` float32 of mean 0 and deviation 1, a hash of `keys: [B]`."""
    pairs = (length + 1) // 2
    counters = torch.arange(1, 2 * pairs + 1, device=keys.device)
    words = mix(mix(keys).unsqueeze(1) + counters * GOLDEN)
    uniform = ((words & _LOWER_53).double() + 0.5) / (1 << 53)
    first, second = uniform[:, :pairs], uniform[:, pairs:]
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :length].float()


def crop(levels: Tensor, *, top: Tensor, height: Tensor, left: Tensor, width: Tensor) -> Tensor:
    """Return each crop, resized to the whole; beyond the borders levels are 0.

    Args:
        top, height, left, width: `[B]` shares of the sides.
    """
    bands, frames = levels.shape[1:]
    rows = resize_matrix(top, height, bands).to(levels.dtype)
    columns = resize_matrix(left, width, frames).to(levels.dtype)
    return rows @ levels @ columns.mT


def resize_matrix(begin: Tensor, share: Tensor, side: int) -> Tensor:
    """Return `[B, side, side]` that resize a part of a line to the whole, by a triangle filter.

    The filter is antialiasing, as wide as a result's place; rows that lie inside sum to 1, and
    beyond the line are zeros.
    """
    centre = (torch.arange(side, device=begin.device) + 0.5) * share.unsqueeze(1)
    centre = (begin.unsqueeze(1) * side + centre - 0.5).unsqueeze(2)
    reach = share.clamp(min=1).view(-1, 1, 1)
    # Also the places beyond the line, which is in the middle of these.
    place = torch.arange(-side, 2 * side, device=begin.device)
    weights = (1 - (place - centre).abs() / reach).clamp_(min=0)
    weights = weights / weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return weights[:, :, side : 2 * side]


def add_fade(levels: Tensor, fade: Tensor) -> Tensor:
    """Return levels plus a straight line over time, from `fade[0]` to `fade[1]`, `[2, B]`."""
    share = torch.linspace(0, 1, levels.shape[2], device=levels.device, dtype=levels.dtype)
    first, last = fade.to(levels.dtype).view(2, -1, 1)
    return levels + torch.lerp(first, last, share).unsqueeze(1)


def hide(levels: Tensor, masks: Tensor) -> Tensor:
    """Return levels of which a stretch of bands and one of time are 0, `masks: [4, B]` shares."""
    bands, frames = levels.shape[1:]
    rows = _between(masks[0], masks[1], bands).unsqueeze(2)
    columns = _between(masks[2], masks[3], frames).unsqueeze(1)
    return torch.where(rows | columns, 0.0, levels)


def _between(first: Tensor, last: Tensor, side: int) -> Tensor:
    """Return `[B, side]` bool, which places of a line have their centre between two shares."""
    centre = (torch.arange(side, device=first.device) + 0.5) / side
    return (centre >= first.unsqueeze(1)) & (centre < last.unsqueeze(1))
