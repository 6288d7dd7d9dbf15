"""What probes on frozen features share."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(rows: Tensor, labels: Tensor, *, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """At most `most` of the rows and their labels, in an order of no meaning."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].to(
        rows.device
    )
    return rows[order].float(), labels[order]


def standardise(bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Both by the bank's mean and standard deviation of each dimension; one that is constant stays
    at zero."""
    spread, mean = torch.std_mean(bank, dim=0, correction=0)
    spread = torch.where(spread > 1e-6, spread, 1.0)
    return (bank - mean) / spread, (queries.float() - mean) / spread
