"""Mask of single tokens."""

from __future__ import annotations

from torch import Tensor

from manta.views.draws import draw_masks
from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens


@MASKS.register("uniform")
class Uniform(MaskKind):
    """Hide single tokens, every set of as many equally likely.

    MAE (He et al. 2022) hides 0.75. Of a grid the share is rounded, and so may be none or all.
    """

    def draw(self, tokens: Tokens) -> Tensor:
        if tokens.lengths is not None:
            scores = tokens.part.row_numbers().uniform(tokens.count)
            return tokens.lowest(scores, tokens.hidden(self.ratio))
        part = tokens.part
        return draw_masks(
            tokens.count,
            hidden=round(self.ratio * tokens.count),
            rows=part.rows,
            global_batch=part.global_batch,
            stream=part.stream,
            device=part.device,
        )
