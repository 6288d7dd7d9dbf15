"""SIE's terms against their definitions by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.equivariance import SIETerms, sie_terms, transported


def parts(n: int = 10, i: int = 3, e: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)

    def draw(d: int) -> Tensor:
        return 0.6 * torch.randn(n, d, generator=stream, dtype=torch.float64)

    return draw(i), draw(i), draw(e), draw(e), draw(e)


def hinge_by_loops(z: Tensor) -> float:
    n, d = z.shape
    total = 0.0
    for j in range(d):
        variance = sum(float(z[s, j] - z[:, j].mean()) ** 2 for s in range(n)) / (n - 1)
        total += max(0.0, 1 - math.sqrt(variance + 1e-4))
    return total / d


def covariance_by_loops(z: Tensor) -> float:
    n, d = z.shape
    total = 0.0
    for j in range(d):
        for k in range(d):
            if j != k:
                shared = sum(
                    float((z[s, j] - z[:, j].mean()) * (z[s, k] - z[:, k].mean())) for s in range(n)
                )
                total += (shared / (n - 1)) ** 2
    return total / d


def test_terms_are_the_papers() -> None:
    """Garrido et al. 2023, scaled as their code does."""
    inv_a, inv_b, equi_a, equi_b, carried = parts()
    whole = [torch.cat([inv_a, equi_a], 1), torch.cat([inv_b, equi_b], 1)]
    n = len(inv_a)
    expected = SIETerms(
        invariance=sum(float((inv_a[s] - inv_b[s]).square().sum()) for s in range(n)) / (3 * n),
        equivariance=sum(float((carried[s] - equi_b[s]).square().sum()) for s in range(n))
        / (2 * n),
        variance=sum(hinge_by_loops(z) for z in whole) / 2,
        transported_variance=hinge_by_loops(carried) / 2,
        covariance=sum(covariance_by_loops(z) for z in whole),
    )
    actual = sie_terms(inv_a, inv_b, equi_a, equi_b, carried)
    assert [float(term) for term in actual] == pytest.approx(list(expected), rel=1e-9)


def test_each_sample_has_its_own_map() -> None:
    stream = torch.Generator().manual_seed(0)
    z = torch.randn(5, 3, generator=stream, dtype=torch.float64)
    maps = torch.randn(5, 3, 3, generator=stream, dtype=torch.float64)
    for row, actual in enumerate(transported(z, maps)):
        by_hand = [
            float(z[row, i]) + sum(float(maps[row, i, j] * z[row, j]) for j in range(3)) / 3**0.5
            for i in range(3)
        ]
        assert actual.tolist() == pytest.approx(by_hand, rel=1e-12)


def test_known_answers() -> None:
    """Equal views and prediction, no covariance and standard deviation 1: all terms are 0."""
    corners = torch.tensor(
        [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64
    )
    corners = corners * (3 / 4) ** 0.5
    first, second = corners[:, :1], corners[:, 1:]
    assert [
        float(term) for term in sie_terms(first, first, second, second, second)
    ] == pytest.approx([0] * 5, abs=1e-9)
    # An equivariant part that repeats the invariant one is seen by the covariance of the whole: 2
    # views x 2 x 1 / 2.
    assert float(sie_terms(first, first, first, first, first).covariance) == pytest.approx(2)
    # A predictor that says one thing for all is seen by the variance of what it says, and half
    # counts.
    flat = torch.zeros_like(second)
    constant = sie_terms(first, first, second, second, flat)
    assert float(constant.transported_variance) == pytest.approx((1 - 0.01) / 2)
    assert float(constant.variance) == pytest.approx(0, abs=1e-9)
    assert float(constant.equivariance) == pytest.approx(3 / 4)
    # A map that turns by 90 degrees carries one corner to the next.
    turn = (torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64) - torch.eye(2)) * 2**0.5
    turned = torch.stack([-corners[:, 1], corners[:, 0]], dim=1)
    assert torch.allclose(transported(corners, turn.expand(4, 2, 2)), turned)


def test_gradients_are_those_of_finite_differences() -> None:
    tensors = tuple(z.requires_grad_() for z in parts(5))
    assert torch.autograd.gradcheck(lambda *z: tuple(sie_terms(*z)), tensors)


def test_what_does_not_fit_is_an_error() -> None:
    inv_a, inv_b, equi_a, equi_b, carried = parts()
    with pytest.raises(ConfigError, match="one shape"):
        sie_terms(inv_a, inv_b, equi_a, equi_b, carried[:, :1])
    with pytest.raises(ConfigError, match="at least 2 samples"):
        sie_terms(*(z[:1] for z in parts()))
