"""Steps that probes on frozen features share."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(rows: Tensor, labels: Tensor, *, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return at most `most` of the rows, with their labels, in random order."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator)[:most].to(rows.device)
    return rows[order].float(), labels[order]


def standardise(bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise both by the bank's mean and standard deviation of each dimension.

    A dimension that is constant in the bank becomes zero there.
    """
    spread, mean = torch.std_mean(bank, dim=0, correction=0)
    spread = torch.where(spread > 1e-6, spread, 1.0)
    return (bank - mean) / spread, (queries.float() - mean) / spread
