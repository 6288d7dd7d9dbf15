"""Processes that train one run together, and what they exchange besides gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Return whether this process is one of several in a process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@dataclass(frozen=True, slots=True)
class Ranks:
    """Place of this process among those of its run: rank `rank` of `world`."""

    rank: int
    world: int

    @classmethod
    def current(cls) -> Ranks:
        """Return the place in torch's process group; rank 0 of 1 if there is none."""
        return cls(dist.get_rank(), dist.get_world_size()) if is_distributed() else cls(0, 1)

    def mean(self, terms: Mapping[str, Tensor], device: torch.device) -> dict[str, float]:
        """Return the mean of each scalar over all ranks, which is that of the global batch."""
        # Sorted, so that all ranks stack the terms in the same order; one exchange for all.
        names = sorted(terms)
        values = torch.stack([terms[name].detach().float().to(device) for name in names])
        if self.world > 1:
            dist.all_reduce(values)
            values /= self.world
        return dict(zip(names, values.tolist(), strict=True))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows `[B, D]` of every rank, rank after rank: `[world * B, D]`."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def from_first(self, decision: bool) -> bool:
        """Return the decision of rank 0, on every rank."""
        if self.world == 1:
            return decision
        box = [decision]
        dist.broadcast_object_list(box, src=0)
        return box[0]
