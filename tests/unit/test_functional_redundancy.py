"""Barlow Twins and VICReg against the papers' formulas, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import (
    barlow_twins,
    barlow_twins_terms,
    cross_correlation,
    vicreg,
    vicreg_terms,
)


def pair(n: int = 7, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = 3 + 2 * torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def barlow_twins_by_loops(z_a: Tensor, z_b: Tensor, lambda_: float) -> float:
    """Return Zbontar et al. 2021, eq. 1 and 2, on columns that are mean-centred over the batch."""
    n, d = z_a.shape
    a, b = ([[float(z[i, j]) for i in range(n)] for j in range(d)] for z in (z_a, z_b))
    a, b = ([[x - sum(column) / n for x in column] for column in columns] for columns in (a, b))
    loss = 0.0
    for i in range(d):
        for j in range(d):
            numerator = sum(x * y for x, y in zip(a[i], b[j], strict=True))
            c = numerator / (
                math.sqrt(sum(x * x for x in a[i])) * math.sqrt(sum(y * y for y in b[j]))
            )
            loss += (1 - c) ** 2 if i == j else lambda_ * c**2
    return loss


def vicreg_by_loops(z_a: Tensor, z_b: Tensor, weights: tuple[float, float, float]) -> float:
    """Return Bardes et al. 2022, eq. 1 to 6, with algorithm 1's mean over dimensions."""
    n, d = z_a.shape
    invariance = sum(float((z_a[i, j] - z_b[i, j]) ** 2) for i in range(n) for j in range(d)) / (
        n * d
    )
    variance = covariance = 0.0
    for z in (z_a, z_b):
        means = [sum(float(z[i, j]) for i in range(n)) / n for j in range(d)]
        for j in range(d):
            for k in range(d):
                c = sum(float(z[i, j] - means[j]) * float(z[i, k] - means[k]) for i in range(n)) / (
                    n - 1
                )
                if j == k:
                    variance += max(0.0, 1 - math.sqrt(c + 1e-4)) / d
                else:
                    covariance += c**2 / d
    return weights[0] * invariance + weights[1] * variance + weights[2] * covariance


@pytest.mark.parametrize("seed", [0, 1])
def test_barlow_twins_is_the_papers(seed: int) -> None:
    a, b = pair(seed=seed)
    assert float(barlow_twins(a, b, lambda_=0.3)) == pytest.approx(
        barlow_twins_by_loops(a, b, 0.3), rel=1e-7
    )


@pytest.mark.parametrize("scale", [0.1, 1.0])  # below and above the hinge
@pytest.mark.parametrize(
    "weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_vicreg_is_the_papers(weights: tuple[float, float, float], scale: float) -> None:
    a, b = (scale * z for z in pair())
    actual = vicreg(a, b, invariance=weights[0], variance=weights[1], covariance=weights[2])
    assert float(actual) == pytest.approx(vicreg_by_loops(a, b, weights), rel=1e-12, abs=1e-15)


def test_barlow_twins_known_answers() -> None:
    # Uncorrelated columns.
    h = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert torch.allclose(cross_correlation(h, h), torch.eye(2, dtype=torch.float64), atol=1e-7)
    assert float(barlow_twins(h, h, lambda_=1.0)) == pytest.approx(0, abs=1e-12)
    assert float(barlow_twins(h, -h, lambda_=1.0)) == pytest.approx(2 * 2**2, rel=1e-6)
    # Each dimension is the other's twin.
    swapped = barlow_twins_terms(cross_correlation(h, h.flip(1)))
    assert [round(float(term), 6) for term in swapped] == [2.0, 2.0]
    collapsed = h.clone()
    collapsed[:, 1] = 5.0
    assert float(barlow_twins(collapsed, collapsed, lambda_=1.0)) == pytest.approx(1.0, rel=1e-6)


def test_vicreg_known_answers() -> None:
    h = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert [float(term) for term in vicreg_terms(h, h)] == [0.0, 0.0, 0.0]
    assert [float(term) for term in vicreg_terms(h, -h)] == [4.0, 0.0, 0.0]
    collapsed = h.clone()
    collapsed[:, 1] = 5.0  # its deviation is sqrt(1e-4)
    terms = vicreg_terms(h, collapsed)
    assert float(terms.variance) == pytest.approx((1 - 0.01) / 2)
    twins = h[:, :1].repeat(1, 2)  # two equal dimensions of unbiased variance 4/3
    assert float(vicreg_terms(twins, twins).covariance) == pytest.approx(2 * 2 * (4 / 3) ** 2 / 2)


def test_barlow_twins_ignores_scale_and_shift() -> None:
    a, b = pair()
    assert torch.allclose(
        barlow_twins(a, b, lambda_=0.1), barlow_twins(9 * a - 4, b + 2, lambda_=0.1), rtol=1e-6
    )


def test_ranks_with_equal_rows_have_the_statistics_of_all_rows() -> None:
    """Averages over two ranks with the same rows are those of either; only n in 1/(n - 1) grows."""
    a, b = (0.3 * z for z in pair())
    for alone, together in zip(
        vicreg_terms(a, b, ranks=2), vicreg_terms(a.repeat(2, 1), b.repeat(2, 1)), strict=True
    ):
        assert float(alone) == pytest.approx(float(together), rel=1e-12)
    assert float(vicreg_terms(a, b).covariance) > 1.05 * float(
        vicreg_terms(a, b, ranks=2).covariance
    )


def test_every_statistic_is_averaged_over_ranks() -> None:
    a, b = pair()
    seen: list[tuple[int, ...]] = []

    def average(statistic: Tensor) -> Tensor:
        seen.append(tuple(statistic.shape))
        return statistic

    cross_correlation(a, b, average=average)
    assert seen == [(2, 1, 4), (2, 1, 4), (4, 4)]  # means, variances, correlation
    seen.clear()
    vicreg_terms(a, b, average=average, ranks=1)
    assert seen == [(2, 1, 4), (2, 4, 4)]  # means, covariances


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (z.requires_grad_() for z in pair(5, 3))
    assert torch.autograd.gradcheck(lambda *z: barlow_twins(*z, lambda_=0.1), (a, b))
    assert torch.autograd.gradcheck(
        lambda *z: vicreg(*z, invariance=2, variance=3, covariance=1), (a, b)
    )
    small = [(0.1 * z).detach().requires_grad_() for z in (a, b)]  # the hinge is active
    assert torch.autograd.gradcheck(
        lambda *z: vicreg(*z, invariance=2, variance=3, covariance=1), small
    )


def test_a_single_sample_has_no_variance() -> None:
    a, b = pair(1)
    with pytest.raises(ConfigError, match="at least 2 samples"):
        vicreg(a, b, invariance=1, variance=1, covariance=1)
