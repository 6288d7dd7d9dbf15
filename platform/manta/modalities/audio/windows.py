"""Windows of clips of unequal lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.ragged import Ragged


def cut(waves: Ragged, starts: Tensor, samples: int, speed: Tensor | None = None) -> Tensor:
    """Return `[B, samples]` of each row from its start on, silence outside of the row.

    Args:
        starts: `[B]` places in the row, negative before it; whole numbers where there is no speed.
        speed: `[B]` samples of the row for each of the result's, which are interpolated linearly.
    """
    steps = torch.arange(samples, device=starts.device)
    first = (waves.lengths.cumsum(0) - waves.lengths).unsqueeze(1)
    if speed is None:
        return _taken(waves, first, starts.long().unsqueeze(1) + steps)
    places = starts.unsqueeze(1) + steps * speed.unsqueeze(1)
    below = places.floor()
    share = (places - below).to(waves.values.dtype)
    lower, upper = (_taken(waves, first, below.long() + more) for more in (0, 1))
    return torch.lerp(lower, upper, share)


def _taken(waves: Ragged, first: Tensor, places: Tensor) -> Tensor:
    lengths = waves.lengths.unsqueeze(1)
    inside = (places >= 0) & (places < lengths)
    found = waves.values[first + places.clamp(min=0).minimum(lengths - 1)]
    return torch.where(inside, found, 0.0)
