"""Mask of several boxes."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from manta.views.masks._base import MASKS
from manta.views.masks._tokens import Tokens
from manta.views.masks.block import Boxed


@MASKS.register("multi_block")
class MultiBlock(Boxed):
    """Hide several boxes of one size, which may overlap, at places of each row's own.

    With `count=4, scale=(0.15, 0.2), aspect=(0.75, 1.5)` they are the targets of I-JEPA (Assran et
    al. 2023). Without `scale` a box has `ratio / count` of the tokens. Where boxes overlap, fewer
    are hidden: rows hide unequally many.
    """

    count: int = Field(4, ge=1, description="boxes")

    @property
    def equal(self) -> bool:
        return False

    def draw(self, tokens: Tokens) -> Tensor:
        share = self.share(tokens, self.ratio / self.count)
        mask = torch.stack(self.drawn(tokens, share, self.count)).any(0)
        return tokens.spared(mask, tokens.part.uniform())
