"""Neighbours, attraction to them and clusters of a memory, against loops."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.groups import attraction, cluster_means, kmeans, nearest_in_memory


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def test_nearest_rows_come_first_and_as_they_are() -> None:
    queries, memory = random(4, 3), random(9, 3, seed=1)
    neighbours = nearest_in_memory(queries, memory, count=3)
    for n in range(4):
        order = sorted(range(9), key=lambda m: -cosine(queries[n], memory[m]))
        assert torch.equal(neighbours.rows[n], memory[order[:3]])
    assert neighbours.valid.all()


def test_neighbours_are_of_the_querys_own_label() -> None:
    queries, memory = random(3, 4), random(8, 4, seed=1)
    labels, memory_labels = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    neighbours = nearest_in_memory(
        queries, memory, count=5, labels=labels, memory_labels=memory_labels
    )
    assert neighbours.valid.sum(1).tolist() == [4, 4, 0]
    for n, members in ((0, range(4)), (1, range(4, 8))):
        order = sorted(members, key=lambda m: -cosine(queries[n], memory[m]))
        assert torch.equal(neighbours.rows[n, :4], memory[order])
        assert neighbours.valid[n].tolist() == [True] * 4 + [False]


def test_more_neighbours_than_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit a memory of 2"):
        nearest_in_memory(torch.zeros(1, 3), torch.zeros(2, 3), count=3)


def test_attraction_is_a_mean_over_the_valid_positives() -> None:
    predictions, positives = random(3, 4), random(3, 3, 4, seed=1)
    valid = torch.tensor([[True, True, True], [True, False, False], [True, False, True]])
    expected = 0.0
    for n in range(3):
        own = [cosine(predictions[n], positives[n, p]) for p in range(3) if valid[n, p]]
        expected -= sum(own) / len(own) / 3
    assert float(attraction(predictions, positives, valid)) == pytest.approx(expected, rel=1e-12)


def test_known_attractions() -> None:
    z = torch.eye(3, dtype=torch.float64)
    valid = torch.ones(3, 2, dtype=torch.bool)
    assert float(attraction(z, torch.stack([z, 5 * z], dim=1), valid)) == pytest.approx(-1)
    assert float(attraction(z, torch.stack([z, z.roll(1, 0)], dim=1), valid)) == pytest.approx(-0.5)
    assert float(attraction(z, torch.stack([z, -z], dim=1), valid)) == pytest.approx(0, abs=1e-15)


def test_a_cluster_without_members_keeps_its_mean() -> None:
    rows, previous = random(5, 2), random(3, 2, seed=1)
    actual = cluster_means(rows, torch.tensor([0, 0, 2, 2, 2]), previous)
    assert torch.allclose(actual[0], (rows[0] + rows[1]) / 2)
    assert torch.equal(actual[1], previous[1])
    assert torch.allclose(actual[2], (rows[2] + rows[3] + rows[4]) / 3)


def test_kmeans_finds_clusters_that_are_there() -> None:
    truth = torch.arange(60) % 4
    rows = 10 * torch.eye(6, dtype=torch.float64)[truth] + random(60, 6)
    rows = rows[truth.argsort()]  # rows evenly apart are of all four then
    centres, labels = kmeans(rows, count=4, iterations=10)
    expected = KMeans(4, n_init=5, random_state=0).fit_predict(rows.numpy())
    assert len({(int(a), int(b)) for a, b in zip(labels, expected, strict=True)}) == 4
    unit = torch.nn.functional.normalize(rows, dim=1)
    for k in range(4):
        assert torch.allclose(centres[k], unit[labels == k].mean(0))
    again = kmeans(rows, count=4, iterations=10)
    assert torch.equal(again[0], centres)
