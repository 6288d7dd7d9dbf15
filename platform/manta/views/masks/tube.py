"""Mask of the same places at all times."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens


@MASKS.register("tube")
class Tube(MaskKind):
    """Hide the same places at all times of a grid, so that no other time tells what is there.

    VideoMAE (Tong et al. 2022) hides 0.9 of a grid (times, rows, columns).
    """

    axis: int = Field(0, description="of the grid, that is time: 0 the first")
    axes: ClassVar[int] = 2
    ragged: ClassVar[bool] = False

    def draw(self, tokens: Tokens) -> Tensor:
        axis = self.axis % len(tokens.grid)
        others = [side for i, side in enumerate(tokens.grid) if i != axis]
        space = tokens.on(math.prod(others))
        scores = tokens.part.row_numbers().uniform(space.count)
        mask = space.lowest(scores, space.hidden(self.ratio))
        tubes = mask.view(-1, *others).unsqueeze(axis + 1)
        return tubes.expand(-1, *tokens.grid).flatten(1)
