"""Losses on a graph of related samples (Cabannes et al. 2023, PAL).

The nodes are the views of a batch; the graph G links a node to its sample's other view and to both
views of every related sample. With no sample related to another the losses are those of the plain
methods. Anchors, keys and how ranks share them are those of `manta.functional.contrastive`;
`average` is that of `manta.functional.redundancy`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair, own_rows
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, identity


@full_precision
def graph_nt_xent(
    z_a: Tensor,
    z_b: Tensor,
    *,
    related: Tensor,
    temperature: float,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
    average: Average = identity,
) -> Tensor:
    """Return `-sum_ij G_ij log softmax_j(cosine_ij / temperature)`, mean over the edges.

    This is the paper's SimCLR on a graph; no node is compared with itself.

    Ours: the mean over the edges, a scale that makes it `nt_xent` where only views are related.

    Args:
        related: `[N, M]` bool, anchors by keys, symmetric; a sample counts as related to itself in
            any case.
    """
    anchors, keys, itself, edges = _graph(z_a, z_b, keys_a, keys_b, offset, related)
    logits = F.normalize(anchors, dim=1) @ F.normalize(keys, dim=1).T / temperature
    log_p = logits.masked_fill(itself, -math.inf).log_softmax(1)
    degree = average(edges.to(logits.dtype).sum(1).mean())
    return -log_p.masked_fill(~edges, 0.0).sum(1).mean() / degree


@full_precision
def graph_invariance(
    z_a: Tensor,
    z_b: Tensor,
    *,
    related: Tensor,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
    average: Average = identity,
) -> Tensor:
    """Return `sum_ij G_ij |z_i - z_j|^2` over the number of edges and D.

    This is the invariance term of the paper's VICReg on a graph.

    Args:
        related: as in `graph_nt_xent`.
    """
    anchors, keys, _, edges = _graph(z_a, z_b, keys_a, keys_b, offset, related)
    # Centred first: squares of large numbers would drown their small differences.
    centre = keys.detach().mean(0)
    anchors, keys, weights = anchors - centre, keys - centre, edges.to(anchors.dtype)
    own = weights.sum(1) @ anchors.square().sum(1)
    others = weights.sum(0) @ keys.square().sum(1)
    squared = own + others - 2 * (anchors * (weights @ keys)).sum()
    return squared / anchors.numel() / average(weights.sum(1).mean())


def _graph(
    z_a: Tensor,
    z_b: Tensor,
    keys_a: Tensor | None,
    keys_b: Tensor | None,
    offset: int,
    related: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return anchors `[2N, D]`, keys `[2M, D]`, and masks `[2N, 2M]` of self-pairs and of edges."""
    keys_a, keys_b = z_a if keys_a is None else keys_a, z_b if keys_b is None else keys_b
    check_pair(z_a, z_b)
    check_pair(keys_a, keys_b)
    if related.shape != (len(z_a), len(keys_a)):
        raise ConfigError(
            f"related must be of shape {(len(z_a), len(keys_a))}, anchors by keys, "
            f"not {tuple(related.shape)}"
        )
    same_sample = own_rows(z_a, keys_a, offset)
    itself = torch.block_diag(same_sample, same_sample)  # type: ignore[no-untyped-call]
    edges = (related | same_sample).repeat(2, 2) & ~itself
    return torch.cat([z_a, z_b]), torch.cat([keys_a, keys_b]), itself, edges
