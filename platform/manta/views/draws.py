"""Random numbers of a step's views that every pipeline can use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manta.lanes import lane_count
from manta.splitmix import GOLDEN, mix

_LOWER_53 = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class BatchPart:
    """One rank's part of a global batch, or of a micro-batch of it.

    Attributes:
        seed, step: of the run; they decide every draw, together with a row's place.
        rows: which rows of the global batch these are.
        global_batch: samples of the whole step, over all ranks and micro-batches.
        stream: random numbers of the step, the same on every rank.
        device: that the rows are on.
    """

    seed: int
    step: int
    rows: slice
    global_batch: int
    stream: torch.Generator
    device: torch.device

    def uniform(self, *shape: int) -> Tensor:
        """Return `[*shape, B]` float64 in [0, 1) of these rows, on their device.

        It takes the stream on by the numbers of the whole global batch.
        """
        drawn = torch.rand((*shape, self.global_batch), generator=self.stream, dtype=torch.float64)
        numbers = drawn[..., self.rows].contiguous()
        numbers = numbers.pin_memory() if self.device.type == "cuda" else numbers
        return numbers.to(self.device, non_blocking=True)

    @property
    def lane(self) -> int:
        """Rows that follow one another and are on one rank, however many ranks there are.

        All of these rows, where they are not those of a rank, but some for a picture.
        """
        rows = self.rows.stop - self.rows.start
        is_rank = self.global_batch % rows == 0 and self.rows.start % rows == 0
        lanes = lane_count(self.global_batch, self.global_batch // rows) if is_rank else 0
        return self.global_batch // lanes if lanes else rows

    def partners(self) -> Tensor:
        """Draw another row of the same lane for each row: `[B]` int64 places among these rows.

        They are the same on any number of ranks that divides the lanes. A lane of one row has no
        other.
        """
        place = torch.arange(self.rows.stop - self.rows.start, device=self.device)
        inside = place % self.lane
        steps = 1 + (self.uniform() * (self.lane - 1)).floor().long()
        return place - inside + (inside + steps) % self.lane

    def row_numbers(self) -> RowNumbers:
        """Return numbers of which each row has as many as it likes."""
        return RowNumbers((self.uniform() * 2**53).long())


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """Random numbers that belong to a row alone, whatever else is in its batch.

    Attributes:
        keys: `[B]` int64; a number is a hash of its row's key, its purpose and its place.
    """

    keys: Tensor

    def uniform(self, count: int, purpose: int = 0) -> Tensor:
        """Return `[B, count]` float64 in (0, 1); a larger count begins with the same numbers.

        Args:
            purpose: separates the draws of one row for different ends.
        """
        counters = torch.arange(1, count + 1, device=self.keys.device) * GOLDEN
        words = mix(mix(mix(self.keys) + purpose).unsqueeze(1) + counters)
        return ((words & _LOWER_53).double() + 0.5) / (1 << 53)


def generator(seed: int, step: int, *purpose: int) -> torch.Generator:
    """Return the random number stream of one step; each `purpose` has a stream of its own."""
    state = int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def draw_masks(
    tokens: int,
    *,
    hidden: int,
    rows: slice,
    global_batch: int,
    stream: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Draw `[B, tokens]` bool with `hidden` True in every row, every such set equally likely."""
    order = torch.rand(global_batch, tokens, generator=stream)[rows]
    order = (order.pin_memory() if device.type == "cuda" else order).to(device, non_blocking=True)
    chosen = order.argsort(dim=1, stable=True)[:, :hidden]
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, chosen, True)
