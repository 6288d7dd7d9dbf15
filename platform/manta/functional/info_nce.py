"""InfoNCE with given keys: a queue of past ones, or those of every rank's batch.

Queries are this rank's rows `[N, D]`; the mean of the ranks' losses is the global batch's. Random
choices are arguments, so that an equation returns the same value twice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def info_nce(positive: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """Return the InfoNCE loss of scores, mean over N queries.

    van den Oord et al. 2018; He et al. 2020, MoCo, eq. 1.

    Args:
        positive: `[N]`, of each query with its key.
        negatives: `[N, K]`, of each query with its negatives; -inf for none.
    """
    positive = positive / temperature
    rest = torch.logsumexp(negatives / temperature, dim=1)
    return (torch.logaddexp(positive, rest) - positive).mean()


@full_precision
def queue_nce(
    query: Tensor, key: Tensor, queue: Tensor, *, temperature: float, own: Tensor | None = None
) -> Tensor:
    """Return the InfoNCE loss of cosines against the rows of a queue.

    He et al. 2020, MoCo, eq. 1.

    Args:
        query, key: `[N, D]`, two views of the same samples.
        queue: `[K, D]`, negatives of all queries.
        own: `[N, S, D]`, further negatives of each query only.
    """
    check_pair(query, key)
    q, k = F.normalize(query, dim=1), F.normalize(key, dim=1)
    scores = q @ F.normalize(queue, dim=1).T
    if own is not None:
        own_scores = torch.einsum("nd,nsd->ns", q, F.normalize(own, dim=2))
        scores = torch.cat([scores, own_scores], dim=1)
    return info_nce((q * k).sum(1), scores, temperature=temperature)


@full_precision
def batch_nce(
    query: Tensor, keys: Tensor, *, temperature: float, offset: int = 0, decoupled: bool = False
) -> Tensor:
    """Return the InfoNCE loss of cosines among the keys of one batch.

    Chen et al. 2021, MoCo v3, algorithm 1, without its factor 2 tau.

    Args:
        query: `[N, D]`.
        keys: `[M, D]` of all ranks; the positive of query i is key `offset + i`, all others are its
            negatives.
        decoupled: leave the positive out of the denominator (Yeh et al. 2022, DCL).
    """
    if len(keys) < 2:
        raise ConfigError(
            "a contrastive loss needs at least 2 samples in a batch; raise train.batch_size"
        )
    if not 0 <= offset <= len(keys) - len(query):
        raise ConfigError(
            f"{len(query)} queries from row {offset} on are not among {len(keys)} keys"
        )
    q, k = F.normalize(query, dim=1), F.normalize(keys, dim=1)
    places = torch.arange(offset, offset + len(q), device=q.device)
    positive = (q * k[places]).sum(1)
    negatives = (q @ k.T).scatter(1, places.unsqueeze(1), -math.inf)
    if decoupled:
        return (torch.logsumexp(negatives / temperature, dim=1) - positive / temperature).mean()
    return info_nce(positive, negatives, temperature=temperature)


@full_precision
def blend(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return `weight * x + (1 - weight) * y`.

    A weight in 0..1 interpolates; above 1 it extrapolates beyond x, away from y.

    Args:
        weight: broadcast over `x` and `y`; in any precision.
    """
    return torch.lerp(y, x, weight.to(x.dtype))


@full_precision
@torch.no_grad()
def nearest_support(z: Tensor, support: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return `[N, D]`, the row of a support set with the largest cosine to each sample.

    Dwibedi et al. 2021, NNCLR, eq. 2.

    Args:
        z: `[N, D]`.
        support: `[K, D]`.
        valid: `[K]` bool, the rows that count; None: all. Where no row is valid, z is its own
            neighbour.
    """
    cosines = F.normalize(z, dim=1) @ F.normalize(support, dim=1).T
    if valid is None:
        return support[cosines.argmax(1)]
    neighbours = support[cosines.masked_fill(~valid, -math.inf).argmax(1)]
    return torch.where(valid.any(), neighbours, z)


@full_precision
@torch.no_grad()
def hardest(query: Tensor, queue: Tensor, *, count: int) -> Tensor:
    """Return `[N, count, D]`, the queue rows most similar to each query, unit vectors, best first.

    The truncated ordered set of MoCHi (Kalantidis et al. 2020, section 4.1); `query: [N, D]`,
    `queue: [K, D]`.
    """
    if count > len(queue):
        raise ConfigError(
            f"the {count} hardest of {len(queue)} negatives cannot be taken; raise objective.queue"
        )
    rows = F.normalize(queue, dim=1)
    return rows[(F.normalize(query, dim=1) @ rows.T).topk(count, dim=1).indices]


@full_precision
@torch.no_grad()
def mixed_negatives(hard: Tensor, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return `[N, S, D]` unit vectors between two hard negatives.

    Kalantidis et al. 2020, MoCHi, section 4.1.

    Args:
        hard: `[N, H, D]`, of each query.
        first, second: `[N, S]` int64, which of the H are mixed.
        weight: `[N, S]` of the first, in 0..1.
    """
    mixed = blend(_chosen(hard, first), _chosen(hard, second), weight.unsqueeze(2))
    return F.normalize(mixed, dim=2)


@full_precision
@torch.no_grad()
def query_mixed_negatives(query: Tensor, hard: Tensor, chosen: Tensor, weight: Tensor) -> Tensor:
    """Return `[N, S, D]` unit vectors between a query and a hard negative.

    Kalantidis et al. 2020, MoCHi, section 4.2.

    Args:
        query: `[N, D]`.
        hard: `[N, H, D]`, of each query.
        chosen: `[N, S]` int64, which of the H are mixed.
        weight: `[N, S]` of the query; below 0.5, so that the negative has the larger part.
    """
    q = F.normalize(query, dim=1).unsqueeze(1)
    return F.normalize(blend(q, _chosen(hard, chosen), weight.unsqueeze(2)), dim=2)


class Scores(NamedTuple):
    """Arguments of `info_nce`: `positive: [N]` and `negatives: [N, K]`."""

    positive: Tensor
    negatives: Tensor


@full_precision
def transformed_scores(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    extrapolation: Tensor | None = None,
    interpolation: Tensor | None = None,
    order: Tensor | None = None,
) -> Scores:
    """Return the scores of transformed features.

    Zhu et al. 2021, Feature Transformation, section 4. A pair of cosine S that is extrapolated by a
    weight w gets the score `S + 2 w (1 - w) (1 - S)`, which is lower. Transformed features are not
    normalised again.

    Args:
        query, key: `[N, D]`, two views of the same samples.
        queue: `[K, D]`.
        extrapolation: `[N]` weights above 1: query and key are moved away from each other. None:
            left as they are.
        interpolation: `[K]` weights in 0..1 of each negative against its partner, row `order: [K]`
            of the queue. None: left as they are.
    """
    check_pair(query, key)
    q, k, rows = F.normalize(query, dim=1), F.normalize(key, dim=1), F.normalize(queue, dim=1)
    if extrapolation is not None:
        weight = extrapolation.unsqueeze(1)
        q, k = blend(q, k, weight), blend(k, q, weight)
    if interpolation is not None:
        rows = blend(rows, rows[order], interpolation.unsqueeze(1))
    return Scores((q * k).sum(1), q @ rows.T)


def _chosen(hard: Tensor, which: Tensor) -> Tensor:
    """Return the chosen negatives of each query: `[N, H, D], [N, S] -> [N, S, D]`."""
    return hard.gather(1, which.unsqueeze(2).expand(-1, -1, hard.shape[2]))
