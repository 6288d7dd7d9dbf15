"""The random numbers of a step's views.

A few numbers of each row are drawn for the global batch on the CPU, and a rank takes its rows of
them, so that a row's views do not depend on how many ranks there are. What every token needs is a
hash of one of these and the token's place in its row, which padding does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manta.modalities.text.views.config import ViewSpec
from manta.splitmix import GOLDEN, mix
from manta.views import BatchPart

_NUMBERS = 4
_LOWER_53 = (1 << 53) - 1
DELETE, SPAN, REPLACE, TOKEN, SHUFFLE = range(1, 6)
"""Purposes of a token's numbers, which are drawn apart."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Uniform numbers of one view of B rows, float64 on the rows' device.

    Attributes:
        numbers: `[4, B]`.
    """

    spec: ViewSpec
    numbers: Tensor

    def window(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return first place and width of each row's crop, `[B]` int64 each."""
        low, high = self.spec.crop
        share = low + (high - low) * self.numbers[0]
        widths = (share * lengths).round().clamp_(min=1).minimum(lengths.double())
        starts = (self.numbers[1] * (lengths - widths + 1)).floor()
        return starts.long(), widths.long()

    def spans(self, lengths: Tensor) -> Tensor:
        """Return `[B]` int64, how many stretches of rows of `lengths` are masked."""
        mean = self.spec.mask * lengths / lengths.clamp(max=self.spec.span)
        return (mean + self.numbers[2]).floor().long()

    def uniform(self, purpose: int, length: int) -> Tensor:
        """Return `[B, length]` numbers in (0, 1), of each token by its place in the row."""
        keys = (self.numbers[3] * 2**53).long()
        counters = torch.arange(1, length + 1, device=keys.device)
        words = mix(mix(mix(keys) + purpose).unsqueeze(1) + counters * GOLDEN)
        return ((words & _LOWER_53).double() + 0.5) / (1 << 53)


def draw(specs: Sequence[ViewSpec], part: BatchPart) -> list[Draws]:
    """Draw the numbers of each view for the part's rows."""
    shape = (_NUMBERS, len(specs), part.global_batch)
    numbers = torch.rand(shape, generator=part.stream, dtype=torch.float64)
    numbers = numbers[..., part.rows].contiguous()
    numbers = numbers.pin_memory() if part.device.type == "cuda" else numbers
    numbers = numbers.to(part.device, non_blocking=True)
    return [Draws(spec, numbers[:, view]) for view, spec in enumerate(specs)]
