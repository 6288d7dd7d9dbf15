"""GroCo's soft sorting against the permutation matrices of the network, layer by layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.sorting import groco, soft_top


def matrix_by_loops(values: list[float], steepness: float) -> list[list[float]]:
    """Return P[rank][element] of Petersen et al. 2021, 2022: the product of swap matrices."""
    n = len(values)
    x, p = list(values), [[float(i == j) for j in range(n)] for i in range(n)]
    for layer in range(n):
        for i in range(layer % 2, n - 1, 2):
            keep = math.atan(steepness * (x[i + 1] - x[i])) / math.pi + 0.5
            x[i], x[i + 1] = (
                keep * x[i] + (1 - keep) * x[i + 1],
                (1 - keep) * x[i] + keep * x[i + 1],
            )
            rows = p[i], p[i + 1]
            p[i] = [keep * a + (1 - keep) * b for a, b in zip(*rows, strict=True)]
            p[i + 1] = [(1 - keep) * a + keep * b for a, b in zip(*rows, strict=True)]
    return p


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def groco_by_loops(z: Tensor, positives: Tensor, hardest: int, steepness: float) -> float:
    """Return Shvetsova et al. 2023: both groups' equal cross-entropies, by the summed matrix."""
    n, total = len(z), 0.0
    for i in range(n):
        negative = sorted(cosine(z[i], z[j]) for j in range(n) if j != i)[-hardest:]
        positive = sorted(cosine(z[i], positives[i, j]) for j in range(positives.shape[1]))
        p = matrix_by_loops(negative + positive, steepness)
        size = len(p)
        for element in range(size):
            above = sum(p[rank][element] for rank in range(len(negative), size))
            below = sum(p[rank][element] for rank in range(len(negative)))
            assert above + below == pytest.approx(1)
            total += -math.log(above if element >= len(negative) else below) / size
    return total / n


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("length", [2, 3, 6, 7])
@pytest.mark.parametrize("steepness", [1.0, 20.0])
def test_soft_top_is_the_sum_of_the_networks_last_ranks(length: int, steepness: float) -> None:
    values = random(3, length)
    for top in range(1, length):
        actual = soft_top(values, top=top, steepness=steepness)
        for row, expected in zip(actual, values.tolist(), strict=True):
            p = matrix_by_loops(expected, steepness)
            shares = [
                sum(p[rank][element] for rank in range(length - top, length))
                for element in range(length)
            ]
            assert row.tolist() == pytest.approx(shares, rel=1e-9)
        # Doubly stochastic.
        assert torch.allclose(actual.sum(1), torch.tensor(float(top), dtype=torch.float64))


def test_a_steep_network_sorts() -> None:
    values = torch.tensor([[0.3, -0.7, 0.9, 0.1, -0.2]], dtype=torch.float64)
    assert torch.allclose(
        soft_top(values, top=2, steepness=1e6),
        torch.tensor([[1.0, 0, 1, 0, 0]]).double(),
        atol=1e-4,
    )


def test_equal_values_share_the_ranks() -> None:
    """Two equal values: each is on top half of the time."""
    assert soft_top(torch.zeros(1, 2, dtype=torch.float64), top=1, steepness=1.0).tolist() == [
        [0.5, 0.5]
    ]


@pytest.mark.parametrize(("hardest", "count"), [(3, 1), (2, 3), (50, 2)])
@pytest.mark.parametrize("steepness", [1.0, 10.0])
def test_groco_is_the_papers(hardest: int, count: int, steepness: float) -> None:
    z, positives = random(6, 4), random(6, count, 4, seed=1)
    expected = groco_by_loops(z, positives, hardest, steepness)
    assert float(groco(z, positives, hardest=hardest, steepness=steepness)) == pytest.approx(
        expected, rel=1e-9
    )


def test_known_answers() -> None:
    """One negative and one positive: one pair, two layers, and nothing to compare in the second."""
    a = torch.eye(4, dtype=torch.float64)
    right = math.atan(1.0) / math.pi + 0.5  # the positive's cosine is 1, every negative's 0
    assert float(groco(a, a.unsqueeze(1), hardest=1, steepness=1.0)) == pytest.approx(
        -math.log(right)
    )
    # Collapsed: nothing tells positives from negatives.
    same = torch.ones(4, 2, dtype=torch.float64)
    assert float(groco(same, same.unsqueeze(1), hardest=1, steepness=1.0)) == pytest.approx(
        math.log(2)
    )
    wrong = groco(
        a[:2], a[:2].flip(0).unsqueeze(1) - 0.5 * a[:2].unsqueeze(1), hardest=1, steepness=1e3
    )
    assert float(wrong) > float(groco(a[:2], a[:2].unsqueeze(1), hardest=1, steepness=1e3)) + 1


def test_parts_against_all_keys_average_to_the_whole() -> None:
    z, positives = random(8, 4), random(8, 2, 4, seed=1)
    whole = groco(z, positives, hardest=3, steepness=1.0)
    for rows in (2, 4):
        parts = [
            groco(
                z[i : i + rows], positives[i : i + rows], hardest=3, steepness=1.0, keys=z, offset=i
            )
            for i in range(0, 8, rows)
        ]
        assert torch.allclose(torch.stack(parts).mean(), whole, rtol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    z, positives, keys = (
        x.requires_grad_() for x in (random(4, 3), random(4, 2, 3, seed=1), random(4, 3, seed=2))
    )
    assert torch.autograd.gradcheck(
        lambda a, p, k: groco(a, p, hardest=2, steepness=2.0, keys=k), (z, positives, keys)
    )


def test_a_steep_network_stays_finite() -> None:
    z, positives = random(6, 4).float().requires_grad_(), random(6, 2, 4, seed=1).float()
    loss = groco(z, positives, hardest=4, steepness=1e9)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_one_sample_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 2 samples"):
        groco(random(1, 4), random(1, 1, 4), hardest=2, steepness=1.0)
