"""Second-order graph matching against loops, and on graphs whose matching is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.matching import (
    edge_support,
    knn_graph,
    match_graphs,
    matching_terms,
    vertex_affinity,
)
from manta.functional.transport import log_matching


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
def test_vertices_mix_pooled_and_local_cosines(weight: float) -> None:
    z_a, z_b, cells_a, cells_b = (
        random(4, 3),
        random(4, 3, seed=1),
        random(4, 2, 5, seed=2),
        random(4, 2, 5, seed=3),
    )
    actual = vertex_affinity(z_a, z_b, cells_a, cells_b, global_weight=weight)
    for i in range(4):
        for a in range(4):
            table = [[cosine(cells_a[i, p], cells_b[a, q]) for q in range(2)] for p in range(2)]
            forth = sum(max(row) for row in table) / 2
            back = sum(max(table[p][q] for p in range(2)) for q in range(2)) / 2
            expected = weight * cosine(z_a[i], z_b[a]) + (1 - weight) * (forth + back) / 2
            assert float(actual[i, a]) == pytest.approx(expected, rel=1e-12)


def test_a_graph_has_each_samples_nearest() -> None:
    z = random(7, 3)
    for i, actual in enumerate(knn_graph(z, neighbours=3).tolist()):
        assert (
            actual == sorted((j for j in range(7) if j != i), key=lambda j: -cosine(z[i], z[j]))[:3]
        )
    with pytest.raises(ConfigError, match="has no 7 neighbours"):
        knn_graph(z, neighbours=7)


def test_support_is_a_sum_over_pairs_of_edges() -> None:
    z_a, z_b, matching = random(6, 3), random(6, 3, seed=1), random(6, 6, seed=2).exp()
    edges_a, edges_b = knn_graph(z_a, neighbours=2), knn_graph(z_b, neighbours=2)
    actual = edge_support(z_a, z_b, edges_a, edges_b, matching)
    for i in range(6):
        for a in range(6):
            expected = 0.0
            for j in edges_a[i].tolist():
                for b in edges_b[a].tolist():
                    expected += cosine(z_a[i] - z_a[j], z_b[a] - z_b[b]) * float(matching[j, b]) / 2
            assert float(actual[i, a]) == pytest.approx(expected, rel=1e-12)


def test_both_penalties_are_means_over_vertices_and_edges() -> None:
    log, edges = log_matching(random(5, 5), epsilon=1.0, iterations=50), torch.tensor([[1, 2]] * 5)
    right = [math.exp(float(log[i, i])) for i in range(5)]
    both = [right[i] * right[j] for i in range(5) for j in edges[i].tolist()]
    actual = matching_terms(log, edges, penalty="hamming")
    assert float(actual.vertices) == pytest.approx(sum(1 - x for x in right) / 5, rel=1e-12)
    assert float(actual.edges) == pytest.approx(sum(1 - x for x in both) / 10, rel=1e-12)
    actual = matching_terms(log, edges, penalty="cross_entropy")
    assert float(actual.vertices) == pytest.approx(-sum(map(math.log, right)) / 5, rel=1e-12)
    assert float(actual.edges) == pytest.approx(-sum(map(math.log, both)) / 10, rel=1e-12)


SHARP: dict[str, Any] = {
    "penalty": "hamming",
    "neighbours": 2,
    "edge_weight": 0.5,
    "rounds": 1,
    "epsilon": 0.02,
    "iterations": 50,
}


def terms(
    z_a: Tensor, z_b: Tensor, vertices: Tensor | None = None, **changes: Any
) -> tuple[float, float]:
    unit_a, unit_b = (z / z.norm(dim=1, keepdim=True) for z in (z_a, z_b))
    actual = match_graphs(
        unit_a @ unit_b.T if vertices is None else vertices, z_a, z_b, **(SHARP | changes)
    )
    return float(actual.vertices), float(actual.edges)


def test_known_matchings() -> None:
    z = torch.eye(6, dtype=torch.float64) + 0.1 * random(6, 6)
    assert terms(z, z) == pytest.approx((0, 0), abs=1e-6)  # identical views
    # Every sample looks like another.
    assert terms(z, z.roll(1, 0)) == pytest.approx((1, 1), abs=1e-6)
    same = torch.ones(6, 4, dtype=torch.float64)  # collapsed: every matching is as good
    assert terms(same, same) == pytest.approx((5 / 6, 35 / 36), rel=1e-9)
    assert terms(same, same, penalty="cross_entropy") == pytest.approx(
        (math.log(6), 2 * math.log(6)), rel=1e-9
    )
    assert terms(z, z, penalty="cross_entropy") == pytest.approx((0, 0), abs=1e-6)


def test_edges_decide_where_vertices_cannot() -> None:
    """Vertices that all look alike: only the shapes of the graphs tell who is who."""
    z = random(6, 3)
    blind = torch.zeros(6, 6, dtype=torch.float64)
    by_vertices, _ = terms(z, z, blind, rounds=0)
    by_edges, _ = terms(z, z, blind, rounds=3, edge_weight=1.0)
    assert by_vertices == pytest.approx(5 / 6, rel=1e-9)
    assert by_edges < 0.1


def test_order_and_scale_do_not_matter() -> None:
    z_a, z_b = random(6, 4), random(6, 4) + 0.5 * random(6, 4, seed=1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    expected = terms(z_a, z_b, epsilon=0.2)
    assert terms(z_a[order], z_b[order], epsilon=0.2) == pytest.approx(expected, rel=1e-9)
    assert terms(3 * z_a, 3 * z_b, epsilon=0.2) == pytest.approx(expected, rel=1e-9)
