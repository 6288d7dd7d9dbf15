"""Mask of connected groups."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens

_SEEDS, _STEPS = range(2)
"""Purposes of a row's numbers."""
_ROUNDS = 4
"""Times that every axis of a grid of several is gone along; groups are connected after any."""


@MASKS.register("group")
class Group(MaskKind):
    """Hide groups of neighbouring tokens, which grow from drawn ones in drawn directions.

    After the group masked model learning of ASiT (Atito et al. 2022), which hides connected patches
    of a spectrogram. Ours: a row hides its share exactly; the size of groups is a setting.
    """

    size: int = Field(16, ge=1, description="mean number of tokens of a group")

    def draw(self, tokens: Tokens) -> Tensor:
        hidden = tokens.hidden(self.ratio)
        numbers = tokens.part.row_numbers()
        seeds = tokens.lowest(numbers.uniform(tokens.count, _SEEDS), -(-hidden // self.size))
        shape = (-1, *tokens.grid)
        steps = numbers.uniform(tokens.count, _STEPS).view(shape)
        times = torch.full_like(steps, torch.inf).masked_fill_(seeds.view(shape), 0.0)
        # A token is reached from a neighbour after a time of its own (first-passage percolation):
        # those that are reached first are connected to the drawn ones.
        for _ in range(1 if len(tokens.grid) == 1 else _ROUNDS):
            for axis in range(1, times.ndim):
                times = _spread(times, steps, axis)
        return tokens.lowest(times.flatten(1), hidden)


def _spread(times: Tensor, steps: Tensor, axis: int) -> Tensor:
    """Return when tokens are reached if all along an axis are from both of its sides."""
    after = steps.cumsum(axis)
    before = after - steps
    # From y to a later x it takes the steps after y up to x, to an earlier x those from x to y.
    times = torch.minimum(times, after + (times - after).cummin(axis).values)
    later = (times + before).flip(axis).cummin(axis).values.flip(axis)
    return torch.minimum(times, later - before)
