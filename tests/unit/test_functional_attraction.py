"""CACR against the paper's formula, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.attraction import cacr_terms


def views(n: int = 5, v: int = 3, d: int = 4, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, v, d, generator=stream, dtype=torch.float64)


def distance(x: Tensor, y: Tensor) -> float:
    return float((x / x.norm() - y / y.norm()).square().sum())


def by_loops(z: Tensor, near: float, far: float) -> tuple[float, float]:
    """Zheng et al. 2023: expectations of the distance under the two conditional distributions."""
    n, v, _ = z.shape
    attraction = repulsion = 0.0
    for i in range(n):
        for a in range(v):
            costs = [distance(z[i, a], z[i, b]) for b in range(v) if b != a]
            weights = [math.exp(near * cost) for cost in costs]
            attraction += (
                sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights) / (n * v)
            )
            for b in range(v):
                if b == a:
                    continue
                costs = [distance(z[i, a], z[j, b]) for j in range(n) if j != i]
                weights = [math.exp(-far * cost) for cost in costs]
                mean = sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights)
                repulsion -= mean / (n * v * (v - 1))
    return attraction, repulsion


@pytest.mark.parametrize(("near", "far"), [(1.0, 2.0), (0.0, 0.0), (5.0, 0.9)])
@pytest.mark.parametrize("v", [2, 4])
def test_cacr_is_the_papers(near: float, far: float, v: int) -> None:
    z = views(v=v)
    terms = cacr_terms(z, attraction=near, repulsion=far)
    attraction, repulsion = by_loops(z, near, far)
    assert float(terms.attraction) == pytest.approx(attraction, rel=1e-12)
    assert float(terms.repulsion) == pytest.approx(repulsion, rel=1e-12)


def test_known_answers() -> None:
    same = torch.ones(3, 3, 2, dtype=torch.float64)  # collapsed
    assert [float(x) for x in cacr_terms(same, attraction=1, repulsion=2)] == pytest.approx(
        [0, 0], abs=1e-12
    )
    # Equal views, samples orthogonal.
    apart = torch.eye(4, dtype=torch.float64).unsqueeze(1).expand(4, 2, 4)
    assert [float(x) for x in cacr_terms(apart, attraction=1, repulsion=2)] == pytest.approx(
        [0, -2], abs=1e-12
    )
    crossed = torch.eye(4, dtype=torch.float64).view(2, 2, 4)  # views and samples orthogonal
    assert [float(x) for x in cacr_terms(crossed, attraction=1, repulsion=2)] == pytest.approx(
        [2, -2]
    )


def test_the_far_positive_and_the_near_negative_weigh_more() -> None:
    """One anchor with positives at distances 0 and 4; negatives at 0 and 4."""
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    z = torch.stack([torch.stack([x, x, -x])])
    z = torch.cat([z, z])  # the negatives of a view are the same three
    heavy = 4 * math.exp(4) / (math.exp(4) + 1)
    terms = cacr_terms(z, attraction=1.0, repulsion=0.0)
    assert float(terms.attraction) == pytest.approx((2 * heavy + 4) / 3)
    two = torch.stack([torch.stack([x, x]), torch.stack([x, x]), torch.stack([-x, -x])])
    # Of the first two samples; the third has both negatives at 4.
    light = 4 * math.exp(-4) / (math.exp(-4) + 1)
    assert float(cacr_terms(two, attraction=0.0, repulsion=1.0).repulsion) == pytest.approx(
        -(2 * light + 4) / 3
    )


def test_parts_against_all_keys_average_to_the_whole() -> None:
    z = views(8)
    whole = cacr_terms(z, attraction=1, repulsion=2)
    for rows in (2, 4):
        parts = [
            torch.stack(cacr_terms(z[i : i + rows], attraction=1, repulsion=2, keys=z, offset=i))
            for i in range(0, 8, rows)
        ]
        assert torch.allclose(torch.stack(parts).mean(0), torch.stack(whole), rtol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    z = views(4, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum(cacr_terms(x, attraction=1, repulsion=2)), (z,))


@pytest.mark.parametrize("shape", [(1, 2, 4), (4, 1, 4)])
def test_too_few_views_or_samples_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="2 views"):
        cacr_terms(torch.ones(shape), attraction=1, repulsion=1)
