"""Tokens of a batch's rows, and the random numbers of their mask."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from manta.views.draws import BatchPart


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one view of B rows.

    Attributes:
        grid: sides of the grid of tokens, which are in row-major order; of ragged sequences one
            number, the tokens of the longest.
        part: which rows these are, and their draws.
        lengths: `[B]` int64, tokens of each sequence; None: every row has the whole grid.
    """

    grid: tuple[int, ...]
    part: BatchPart
    lengths: Tensor | None = None

    @property
    def count(self) -> int:
        """T, the tokens of a row, or of the longest."""
        return math.prod(self.grid)

    @property
    def rows(self) -> int:
        """B."""
        return len(range(*self.part.rows.indices(self.part.global_batch)))

    @property
    def own(self) -> Tensor:
        """Tokens of each row, `[B]` int64."""
        if self.lengths is not None:
            return self.lengths
        return torch.full((self.rows,), self.count, device=self.part.device)

    @property
    def places(self) -> Tensor:
        """Places 0, 1, ... of each row, `[B, T]` int64."""
        return torch.arange(self.count, device=self.part.device).repeat(self.rows, 1)

    @property
    def there(self) -> Tensor:
        """Where rows have tokens, `[B, T]` bool."""
        return self.places < self.own.unsqueeze(1)

    def on(self, *grid: int) -> Tokens:
        """Return the rows with another grid, such as some axes of it."""
        return dataclasses.replace(self, grid=grid)

    def hidden(self, share: float) -> Tensor:
        """Return how many tokens of each row are a share of it, `[B]` int64.

        At least one is, and at least one is not; the one token of a row of one is.
        """
        own = self.own
        most = (own - 1).clamp(min=1).minimum(own)
        return (own.double() * share).round().long().clamp(min=1).minimum(most)

    def lowest(self, scores: Tensor, counts: Tensor) -> Tensor:
        """Return `[B, T]` bool, True where a row's `counts: [B]` lowest scores are."""
        order = scores.masked_fill(~self.there, torch.inf).argsort(dim=1, stable=True)
        ranks = torch.empty_like(order)
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        ranks.scatter_(1, order, places)
        return ranks < counts.unsqueeze(1)

    def one_of(self, counts: Tensor, numbers: Tensor) -> Tensor:
        """Return `[B, T]` bool, True at one of each row's first `counts: [B]` places.

        Args:
            numbers: `[B]` uniform in [0, 1), by which it is chosen.
        """
        return self.places == (numbers * counts).floor().long().unsqueeze(1)

    def spared(self, mask: Tensor, numbers: Tensor) -> Tensor:
        """Return a mask that leaves a row of several tokens one, by `numbers: [B]` in [0, 1)."""
        is_all = (mask | ~self.there).all(1) & (self.own > 1)
        return mask & ~(self.one_of(self.own, numbers) & is_all.unsqueeze(1))

    def shared(self, count: int) -> list[float]:
        """Draw numbers in [0, 1) that are the same for every row of the global batch."""
        drawn = torch.rand(count, generator=self.part.stream, dtype=torch.float64)
        return [float(number) for number in drawn]
