"""Losses between a sample and a group of samples from a memory, and how to find such groups."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._precision import full_precision


class Neighbours(NamedTuple):
    """Rows of a memory, nearest first.

    Attributes:
        rows: `[N, k, D]`, as they are in the memory.
        valid: `[N, k]` bool; False where a query has fewer than k neighbours.
    """

    rows: Tensor
    valid: Tensor


@torch.no_grad()
@full_precision
def nearest_in_memory(
    queries: Tensor,
    memory: Tensor,
    *,
    count: int,
    labels: Tensor | None = None,
    memory_labels: Tensor | None = None,
) -> Neighbours:
    """Return the `count` rows of `memory: [M, D]` with the largest cosine to each query.

    Args:
        queries: `[N, D]`.
        labels, memory_labels: `[N]` and `[M]` integers; only rows with the query's own label count.
    """
    if count > len(memory):
        raise ConfigError(
            f"{count} neighbours do not fit a memory of {len(memory)}; lower one or raise the other"
        )
    cosines = F.normalize(queries, dim=1) @ F.normalize(memory, dim=1).T
    if labels is not None and memory_labels is not None:
        cosines = cosines.masked_fill(labels[:, None] != memory_labels, -math.inf)
    best, places = cosines.topk(count, dim=1)
    return Neighbours(memory[places], best > -math.inf)


@full_precision
def attraction(predictions: Tensor, positives: Tensor, valid: Tensor) -> Tensor:
    """Return minus the mean cosine of each sample with its positives, mean over samples.

    Poulakakis-Daktylidis & Jamali-Rad 2024, BECLR, the first term of its loss.

    Args:
        predictions: `[N, D]`.
        positives: `[N, P, D]`.
        valid: `[N, P]` bool, which of the positives exist; at least one for each sample.
    """
    cosines = (F.normalize(predictions, dim=1).unsqueeze(1) * F.normalize(positives, dim=2)).sum(2)
    return -(cosines.masked_fill(~valid, 0.0).sum(1) / valid.sum(1)).mean()


@torch.no_grad()
@full_precision
def cluster_means(rows: Tensor, labels: Tensor, previous: Tensor) -> Tensor:
    """Return `[K, D]`, the mean of the rows `[M, D]` of each label `[M]`.

    A cluster without members keeps its previous mean.
    """
    # A matrix product sums in one order, the same on every rank; a scatter would not.
    members = F.one_hot(labels, len(previous)).to(rows.dtype)
    sizes = members.sum(0).unsqueeze(1)
    return torch.where(sizes > 0, members.T @ rows / sizes.clamp_min(1), previous)


@torch.no_grad()
@full_precision
def kmeans(rows: Tensor, *, count: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Cluster `rows: [M, D]` by spherical k-means; return centres `[K, D]` and labels `[M]`.

    It starts from evenly spaced rows, so nothing is drawn at random.
    """
    unit = F.normalize(rows, dim=1)
    centres = unit[torch.arange(count, device=rows.device) * len(rows) // count]
    for _ in range(iterations):
        labels = (unit @ F.normalize(centres, dim=1).T).argmax(1)
        centres = cluster_means(unit, labels, centres)
    return centres, (unit @ F.normalize(centres, dim=1).T).argmax(1)
