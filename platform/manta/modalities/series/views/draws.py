"""The random numbers of a step's views, turned into arguments of the kernels.

Uniform numbers are drawn for the global batch on the CPU, and a rank takes its rows of them, so
that a sample's views do not depend on how many ranks there are. Noise, of which every value needs a
number, is a hash of one of a row's numbers and the value's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from manta.batch import Ask
from manta.modalities.series.views.config import MOST_SEGMENTS, ViewSpec
from manta.views import crop_windows, has_distances, with_windows

_SCALARS = 11
_NUMBERS = _SCALARS + MOST_SEGMENTS - 1 + MOST_SEGMENTS  # uniform numbers for one view of one row
_WINDOW = (0, 1, 2, 5, 6, *range(_SCALARS, _NUMBERS))
"""Those of them that decide the window, its direction and its order."""


class Order(NamedTuple):
    """The order in which the segments of a window are taken, `[B, segments]` each.

    Attributes:
        ends: where each segment ends in the new order; whole numbers, as the others.
        shifts: what is added to a place in the new order for that in the old one.
    """

    ends: Tensor
    shifts: Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """Uniform numbers of V views of B rows, float64 on the rows' device.

    Attributes:
        numbers: `[numbers of a view, V, B]`.
        asks: of the views; empty where none is placed from another.
        distances: `[V, B]` numbers of the distances between views; None where none is drawn.
    """

    specs: Sequence[ViewSpec]
    numbers: Tensor
    asks: Sequence[Ask] = ()
    distances: Tensor | None = None

    def windows(self, lengths: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return first place and width of each row's crop, `[B]` int64 each, for every view."""
        crops = [spec.crop for spec in self.specs]
        return crop_windows(crops, self.numbers, lengths, self.asks, self.distances)

    def happens(self, view: int, place: int, probability: float) -> Tensor:
        """Return `[B]` bool, True with the probability, by the number at a place."""
        return self.numbers[place, view] < probability

    def reversed(self, view: int) -> Tensor:
        return self.happens(view, 2, self.specs[view].reverse)

    def jittered(self, view: int) -> Tensor:
        return self.happens(view, 3, self.specs[view].jitter_prob)

    def rescaled(self, view: int) -> Tensor:
        return self.happens(view, 4, self.specs[view].scale_prob)

    def order(self, view: int, lengths: Tensor) -> Order:
        """Return the order of the segments of windows of `lengths: [B]`.

        Those of a row that keeps its order are one.
        """
        numbers = self.numbers[:, view]
        is_permuted = self.happens(view, 5, self.specs[view].permute)
        count = 2 + (numbers[6] * (MOST_SEGMENTS - 1)).floor()
        count = torch.where(is_permuted, count, 1).unsqueeze(1)
        place = torch.arange(MOST_SEGMENTS - 1, device=numbers.device)
        cuts = numbers[_SCALARS : _SCALARS + MOST_SEGMENTS - 1].T
        # A cut that is not used lies at the end: its segment is empty.
        cuts = torch.where(place < count - 1, cuts, 1.0).sort(1).values
        bounds = (cuts * lengths.unsqueeze(1)).round().long()
        last = lengths.unsqueeze(1)
        starts = torch.cat([torch.zeros_like(last), bounds], dim=1)
        widths = torch.cat([bounds, last], dim=1) - starts
        order = numbers[_SCALARS + MOST_SEGMENTS - 1 :].T.argsort(dim=1, stable=True)
        ends = widths.gather(1, order).cumsum(1)
        return Order(ends, starts.gather(1, order) - (ends - widths.gather(1, order)))

    def band(self, view: int) -> tuple[Tensor, Tensor]:
        """Return lower and upper edge of the lost band as shares of all frequencies, `[B]` each.

        Low bands are likelier, since series have most of their energy there; where nothing is lost
        both edges are 0.
        """
        spec = self.specs[view]
        happens = self.happens(view, 7, spec.frequency)
        width = spec.band * self.numbers[8, view]
        low = self.numbers[9, view].square() * (1 - width)
        return torch.where(happens, low, 0.0), torch.where(happens, low + width, 0.0)

    def keys(self, view: int) -> Tensor:
        """Return `[B]` int64, what the noise of each row is a hash of."""
        return (self.numbers[10, view] * 2**53).long()


def draw(
    specs: Sequence[ViewSpec],
    *,
    rows: slice,
    global_batch: int,
    stream: torch.Generator,
    device: torch.device,
    asks: Sequence[Ask] = (),
) -> Draws:
    """Draw the numbers of `rows` of the global batch."""

    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand((*shape, global_batch), generator=stream, dtype=torch.float64)
        numbers = drawn[..., rows].contiguous()
        numbers = numbers.pin_memory() if device.type == "cuda" else numbers
        return numbers.to(device, non_blocking=True)

    numbers = with_windows(uniform(_NUMBERS, len(specs)), asks, _WINDOW)
    return Draws(specs, numbers, asks, uniform(len(specs)) if has_distances(asks) else None)
