"""Mask of connected groups."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens

_SEEDS, _STEPS = range(2)
"""Purposes of a row's numbers."""


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
        steps = -numbers.uniform(tokens.count, _STEPS).log()
        shape = (-1, *tokens.grid)
        steps = steps.masked_fill(~tokens.there, torch.inf).view(shape)
        times = torch.full_like(steps, torch.inf).masked_fill_(seeds.view(shape), 0.0)
        # A token is reached from a neighbour after a time of its own (first-passage percolation):
        # those that are reached first are connected to the drawn ones.
        for _ in range(sum(side - 1 for side in tokens.grid)):
            _spread(times, steps)
        return tokens.lowest(times.flatten(1), hidden)


def _spread(times: Tensor, steps: Tensor) -> None:
    """Reach tokens from their neighbours of both sides along every axis, in place."""
    for axis in range(1, times.ndim):
        most = times.shape[axis] - 1
        before, after = times.narrow(axis, 0, most), times.narrow(axis, 1, most)
        after.copy_(torch.minimum(after, before + steps.narrow(axis, 1, most)))
        before.copy_(torch.minimum(before, after + steps.narrow(axis, 0, most)))
