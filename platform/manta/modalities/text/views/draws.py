"""The random numbers of a step's views.

A few of each row are drawn for the global batch, of which a rank takes its rows. What every token
needs is a hash of the row's key and the token's place in its row, which padding does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from manta.batch import Ask
from manta.modalities.text.views.config import ViewSpec
from manta.views import (
    BatchPart,
    RowNumbers,
    crop_windows,
    has_distances,
    same_windows,
    with_windows,
)

DELETE, SPAN, REPLACE, TOKEN, SHUFFLE = range(1, 6)
"""Purposes of a token's numbers, which are drawn apart."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of one view of B rows, on the rows' device.

    Attributes:
        count: `[B]` float64 uniform, by which the number of masked stretches is rounded.
        tokens: of each row's tokens.
        order: likewise, by which they are moved and left out; views of one window have the same.
    """

    spec: ViewSpec
    count: Tensor
    tokens: RowNumbers
    order: RowNumbers

    def spans(self, lengths: Tensor) -> Tensor:
        """Return `[B]` int64, how many stretches of rows of `lengths` are masked."""
        mean = self.spec.mask * lengths / lengths.clamp(max=self.spec.span)
        return (mean + self.count).floor().long()

    def uniform(self, purpose: int, length: int) -> Tensor:
        """Return `[B, length]` numbers in (0, 1), of each token by its place in the row."""
        numbers = self.order if purpose in (DELETE, SHUFFLE) else self.tokens
        return numbers.uniform(length, purpose)


class Placed(NamedTuple):
    """A view's numbers, and its window: first place and width, `[B]` int64 each."""

    drawn: Draws
    starts: Tensor
    widths: Tensor


def draw(
    specs: Sequence[ViewSpec], asks: Sequence[Ask], lengths: Tensor, part: BatchPart
) -> list[Placed]:
    """Draw the numbers of each view for the part's rows, which have `lengths: [B]`."""
    numbers = with_windows(part.uniform(3, len(specs)), asks, (0, 1))
    distances = part.uniform(len(specs)) if has_distances(asks) else None
    windows = crop_windows([spec.crop for spec in specs], numbers, lengths, asks, distances)
    tokens = [part.row_numbers() for _ in specs]
    return [
        Placed(Draws(spec, numbers[2, view], tokens[view], tokens[of]), *windows[view])
        for view, (spec, of) in enumerate(zip(specs, same_windows(asks), strict=True))
    ]
