"""Mask of one box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor

from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens

_PLACE = 0
"""Purpose of a row's numbers; each further box has the next one."""


class Boxed(MaskKind):
    """Base of masks of boxes, whose sizes are drawn once for the whole batch.

    Rows differ in where a box is, as in I-JEPA (Assran et al. 2023), whose numbers are
    `scale=(0.15, 0.2), aspect=(0.75, 1.5)`, four of them. Of a sequence a box is a span.
    """

    scale: tuple[float, float] | None = Field(
        None, description="range of a box's share of the tokens, in place of ratio"
    )
    aspect: tuple[float, float] = Field(
        (0.3, 1 / 0.3),
        description="range of each axis's side over that of the others, drawn on a log scale; that "
        "of BEiT (Bao et al. 2021)",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Boxed:
        for name, low, high in (("scale", *(self.scale or (1, 1))), ("aspect", *self.aspect)):
            if not 0 < low <= high or (name == "scale" and high > 1):
                raise ValueError(f"{name} {low:g}, {high:g} is no range")
        return self

    def share(self, tokens: Tokens, usual: float) -> float:
        """Draw a box's share of the tokens, the same for every row."""
        (number,) = tokens.shared(1)
        low, high = self.scale or (usual, usual)
        return low + (high - low) * number

    def drawn(self, tokens: Tokens, share: float, boxes: int) -> list[Tensor]:
        """Draw the places of boxes of a share of the tokens, `[B, T]` bool each."""
        aspects = tokens.shared(len(tokens.grid) - 1)
        limits: Sequence[int | Tensor] = tokens.grid
        sides: Sequence[int | Tensor]
        if tokens.lengths is not None:
            limits, sides = [tokens.own], [tokens.hidden(share)]
        else:
            sides = box_sides(tokens.grid, share, [self._aspect(number) for number in aspects])
        numbers = tokens.part.row_numbers()
        masks = []
        for box in range(boxes):
            drawn = numbers.uniform(len(tokens.grid), _PLACE + box)
            begins = [
                (drawn[:, axis] * (limit - side + 1)).floor().long()
                for axis, (limit, side) in enumerate(zip(limits, sides, strict=True))
            ]
            masks.append(_inside(tokens, begins, sides) & tokens.there)
        return masks

    def _aspect(self, number: float) -> float:
        low, high = (math.log(bound) for bound in self.aspect)
        return math.exp(low + (high - low) * number)


@MASKS.register("block")
class Block(Boxed):
    """Hide one box of about a share of the tokens, at a place of each row's own.

    BEiT (Bao et al. 2021) hides 0.4 in several such boxes: see "multi_block".
    """

    def draw(self, tokens: Tokens) -> Tensor:
        (mask,) = self.drawn(tokens, self.share(tokens, self.ratio), 1)
        return mask


def box_sides(grid: tuple[int, ...], share: float, aspects: Sequence[float]) -> list[int]:
    """Return the sides of a box of about a share of a grid; never none or all of it.

    Args:
        aspects: of each axis but the last, its side over the mean side of those after it.
    """
    volume = max(share * math.prod(grid), 1.0)
    sides: list[int] = []
    for axis, limit in enumerate(grid):
        after = grid[axis + 1 :]
        side = volume
        if after:
            # side * mean**n is the volume, and side is aspect * mean.
            n = len(after)
            side = aspects[axis] * (volume / aspects[axis]) ** (1 / (n + 1))
            side = max(side, volume / math.prod(after))
        sides.append(min(max(round(side), 1), limit))
        volume = max(volume / sides[-1], 1.0)
    if sides == list(grid):
        longest = sides.index(max(sides))
        sides[longest] = max(sides[longest] - 1, 1)
    return sides


def _inside(tokens: Tokens, begins: Sequence[Tensor], sides: Sequence[int | Tensor]) -> Tensor:
    """Return where boxes are, `[B, T]` bool."""
    mask = torch.ones((1,) * (len(tokens.grid) + 1), dtype=torch.bool, device=begins[0].device)
    for axis, (begin, side) in enumerate(zip(begins, sides, strict=True)):
        place = tokens.on(tokens.grid[axis]).places
        inside = (place >= begin.unsqueeze(1)) & (place < (begin + side).unsqueeze(1))
        shape = [length if i == axis else 1 for i, length in enumerate(tokens.grid)]
        mask = mask & inside.view(-1, *shape)
    return mask.flatten(1)
