"""Second-order graph matching of two views of a batch.

The two views are two graphs whose vertices and edges should correspond. All ranks' samples form one
graph, so the caller gathers them first.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.transport import log_matching

Penalty = Literal["hamming", "cross_entropy"]


@full_precision
def vertex_affinity(
    z_a: Tensor, z_b: Tensor, cells_a: Tensor, cells_b: Tensor, *, global_weight: float
) -> Tensor:
    """Return `[N, N]` cosines of samples in two views, of pooled vectors and of best fitting cells.

    Nguyen et al. 2023, LVM-Med, eq. 3. The local cosine of two samples is the mean, over the cells
    of both maps, of each cell's best cosine in the other sample: the feature term of eq. 2, without
    that of places.

    Args:
        z_a, z_b: `[N, D]`.
        cells_a, cells_b: `[N, T, E]`.
        global_weight: of the pooled cosine, in 0..1; the local one has the rest.
    """
    check_pair(z_a, z_b)
    pooled = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T
    a, b = F.normalize(cells_a, dim=2), F.normalize(cells_b, dim=2)
    cells = torch.einsum("ipd,jqd->ijpq", a, b)
    local = (cells.amax(3).mean(2) + cells.amax(2).mean(2)) / 2
    return global_weight * pooled + (1 - global_weight) * local


@torch.no_grad()
@full_precision
def knn_graph(z: Tensor, *, neighbours: int) -> Tensor:
    """Return `[N, k]` int64, the k other samples with the largest cosine to each of `z: [N, D]`."""
    if neighbours >= len(z):
        raise ConfigError(
            f"a batch of {len(z)} has no {neighbours} neighbours; "
            "raise train.batch_size or lower them"
        )
    unit = F.normalize(z, dim=1)
    return (unit @ unit.T).fill_diagonal_(-torch.inf).topk(neighbours, dim=1).indices


@full_precision
def edge_support(
    z_a: Tensor, z_b: Tensor, edges_a: Tensor, edges_b: Tensor, matching: Tensor
) -> Tensor:
    """Return `[N, N]`, how well the edges at vertices i and a agree with a matching.

    Vertex i is of one graph and a of the other:

    `1/k sum_j sum_b cos(z_i - z_j, z'_a - z'_b) matching[j, b]` over the k neighbours j of i and b
    of a: the gradient of the second-order term (LVM-Med, eq. 4) by the matching of (i, a).

    Args:
        edges_a, edges_b: `[N, k]` of `knn_graph`.
        matching: `[N, N]`.
    """
    a = F.normalize(z_a.unsqueeze(1) - z_a[edges_a], dim=2)
    b = F.normalize(z_b.unsqueeze(1) - z_b[edges_b], dim=2)
    cosines = torch.einsum("ijd,abd->iajb", a, b)
    weights = matching[edges_a[:, None, :, None], edges_b[None, :, None, :]]
    return (cosines * weights).sum((2, 3)) / edges_a.shape[1]


class MatchingTerms(NamedTuple):
    """Errors of a matching, on samples (vertices) and on pairs of neighbours (edges)."""

    vertices: Tensor
    edges: Tensor


@full_precision
def matching_terms(log_matching: Tensor, edges: Tensor, *, penalty: Penalty) -> MatchingTerms:
    """Return the loss terms of a log soft matching `[N, N]` against the identity.

    An edge (i, j) of `edges: [N, k]` is right as far as both its ends are. "hamming" is the
    expected share that is wrong, in 0..1 (for vertices LVM-Med, eq. 5, over 2N). "cross_entropy" is
    minus the mean log-probability of what is right (Wang et al. 2019, permutation loss), which also
    gives a gradient to a pair that the matching misses altogether.
    """
    vertices = log_matching.diagonal()
    pairs = vertices.unsqueeze(1) + vertices[edges]
    if penalty == "hamming":
        return MatchingTerms(1 - vertices.exp().mean(), 1 - pairs.exp().mean())
    return MatchingTerms(-vertices.mean(), -pairs.mean())


@full_precision
def match_graphs(
    vertices: Tensor,
    z_a: Tensor,
    z_b: Tensor,
    *,
    neighbours: int,
    edge_weight: float,
    rounds: int,
    epsilon: float,
    iterations: int,
    penalty: Penalty,
) -> MatchingTerms:
    """Return the terms of a matching found by graduated assignment, with gradients.

    LVM-Med, eq. 4; Gold & Rangarajan 1996. The first matching is by vertices only; each round
    matches again by vertices and the support of the last matching.

    Args:
        vertices: `[N, N]` of `vertex_affinity`.
        z_a, z_b: `[N, D]`, whose differences are the edges.
        neighbours: edges at each vertex.
        edge_weight: of the edges' support against the vertices.
        rounds: 0 is first-order matching.
        epsilon, iterations: of `log_matching`.
        penalty: of `matching_terms`.
    """
    edges_a, edges_b = knn_graph(z_a, neighbours=neighbours), knn_graph(z_b, neighbours=neighbours)
    matching = log_matching(vertices, epsilon=epsilon, iterations=iterations)
    for _ in range(rounds):
        support = edge_support(z_a, z_b, edges_a, edges_b, matching.exp())
        matching = log_matching(
            vertices + edge_weight * support, epsilon=epsilon, iterations=iterations
        )
    return matching_terms(matching, edges_a, penalty=penalty)
