"""The random numbers of a step's views.

A few of each row are drawn for the global batch, of which a rank takes its rows. What every token
needs is a hash of the row's key and the token's place in its row, which padding does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from manta.modalities.text.views.config import ViewSpec
from manta.views import BatchPart
from manta.views.draws import RowNumbers

DELETE, SPAN, REPLACE, TOKEN, SHUFFLE = range(1, 6)
"""Purposes of a token's numbers, which are drawn apart."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of one view of B rows, on the rows' device.

    Attributes:
        numbers: `[3, B]` float64, uniform.
        tokens: of each row's tokens.
    """

    spec: ViewSpec
    numbers: Tensor
    tokens: RowNumbers

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
        return self.tokens.uniform(length, purpose)


def draw(specs: Sequence[ViewSpec], part: BatchPart) -> list[Draws]:
    """Draw the numbers of each view for the part's rows."""
    return [Draws(spec, part.uniform(3), part.row_numbers()) for spec in specs]
