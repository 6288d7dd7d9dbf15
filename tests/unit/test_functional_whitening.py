"""W-MSE against its definition, one sub-batch and one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.whitening import w_mse, whiten
from manta.objectives.w_mse import WMSEConfig


def pair(n: int = 24, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, d, generator=stream, dtype=torch.float64)
    return a, a + 0.3 * b


def by_loops(z_a: Tensor, z_b: Tensor, groups: list[list[int]], shrinkage: float) -> float:
    """Return Ermolov et al. 2021, with W_V^T W_V the inverse covariance, of normalised vectors."""
    total, count = 0.0, 0
    for rows in groups:
        white = []
        for z in (z_a.numpy()[rows], z_b.numpy()[rows]):
            covariance = np.cov(z.T)
            mean = sum(covariance[i, i] for i in range(z.shape[1])) / z.shape[1]
            covariance = (1 - shrinkage) * covariance + shrinkage * mean * np.eye(z.shape[1])
            w = np.linalg.inv(np.linalg.cholesky(covariance))
            white.append([w @ (v - z.mean(0)) for v in z])
        for x, y in zip(*white, strict=True):
            total += float(np.square(x / np.linalg.norm(x) - y / np.linalg.norm(y)).sum())
            count += 1
    return total / count


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
@pytest.mark.parametrize("size", [8, 24])
def test_it_is_the_papers(size: int, shrinkage: float) -> None:
    a, b = pair()
    groups = [rows.tolist() for rows in torch.randperm(24).split(size)]
    loss = w_mse(a, b, [torch.tensor(rows) for rows in groups], shrinkage=shrinkage)
    assert float(loss) == pytest.approx(by_loops(a, b, groups, shrinkage), rel=1e-9)


def test_whitened_embeddings_are_white() -> None:
    a, _ = pair()
    white = whiten(100 * a + 7, shrinkage=0.0)
    assert torch.allclose(white.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(white.T.cov(), torch.eye(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(whiten(a, shrinkage=1.0), (a - a.mean(0)) / a.var(0).mean().sqrt())


@pytest.mark.parametrize("shrinkage", [0.0, 1e-3, 0.1, 1.0])
def test_scale_does_not_matter(shrinkage: float) -> None:
    """Otherwise embeddings that shrink would escape the whitening."""
    a, _ = pair()
    for scale in (1e-6, 1e-2, 1e6):
        assert torch.allclose(
            whiten(scale * a, shrinkage=shrinkage), whiten(a, shrinkage=shrinkage), rtol=1e-9
        )


def test_a_dimension_counts_as_far_as_its_variance_is_above_what_it_is_shrunk_by() -> None:
    """Four points of variances 4/3 and 0.01 * 4/3, mean 0.505 * 4/3, that are uncorrelated."""
    corners = torch.tensor(
        [[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]], dtype=torch.float64
    )
    for shrinkage in (0.0, 1e-3, 0.1):
        actual = whiten(corners, shrinkage=shrinkage).var(0)
        for i, variance in enumerate((1.0, 0.01)):
            expected = variance / ((1 - shrinkage) * variance + shrinkage * 0.505)
            assert float(actual[i]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rows", [16, 128])
@pytest.mark.parametrize("left", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_default_shrinkage_is_enough_for_low_precision(
    rows: int, left: float, dtype: torch.dtype
) -> None:
    """Of 64 dimensions, in fewer and in twice as many samples, all but one are constant."""
    stream = torch.Generator().manual_seed(0)
    z = torch.randn(rows, 64, generator=stream)
    z[:, 1:] *= left
    z = (1e-4 * z).to(dtype).requires_grad_()
    white = whiten(z, shrinkage=WMSEConfig().shrinkage)
    assert white.dtype == torch.float32
    white[:, 0].square().mean().backward()
    assert white.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_known_answers() -> None:
    a, _ = pair()
    everyone = [torch.arange(24)]
    assert float(w_mse(a, a, everyone, shrinkage=0.0)) == pytest.approx(0, abs=1e-12)
    assert float(w_mse(a, -a, everyone, shrinkage=0.0)) == pytest.approx(4)  # opposite
    lower = torch.tril(torch.ones(4, 4, dtype=torch.float64))  # what whitening undoes is free
    assert float(w_mse(a, a @ lower.T + 5, everyone, shrinkage=0.0)) == pytest.approx(0, abs=1e-12)
    corners = torch.tensor(
        [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64
    )
    # By 90 degrees: orthogonal, sample by sample.
    turned = torch.stack([corners[:, 1], -corners[:, 0]], dim=1)
    assert float(w_mse(corners, turned, [torch.arange(4)], shrinkage=0.0)) == pytest.approx(2)


def test_a_dimension_that_collapses_needs_shrinkage() -> None:
    a, b = pair()
    dead = a.clone()
    dead[:, 2] = 1.0
    with pytest.raises(ConfigError, match="has no inverse; raise"):
        whiten(dead, shrinkage=0.0)
    assert w_mse(dead, b, [torch.arange(24)], shrinkage=1e-3).isfinite()
    with pytest.raises(ConfigError, match="4 samples in 4 dimensions"):
        whiten(torch.eye(4, dtype=torch.float64), shrinkage=0.0)
    assert whiten(torch.ones(24, 4), shrinkage=1e-3).eq(0).all()  # the collapse monitor reports it
    with pytest.raises(ConfigError, match="became infinite need a lower"):
        whiten(torch.full((24, 4), torch.inf), shrinkage=0.1)
    with pytest.raises(ConfigError, match="at least 2 samples"):
        whiten(a[:1], shrinkage=0.1)


def test_gradients_are_those_of_finite_differences() -> None:
    groups = [torch.tensor([0, 3, 4, 7, 8]), torch.tensor([1, 2, 5, 6, 9])]
    a, b = (z.requires_grad_() for z in pair(10, 3))
    assert torch.autograd.gradcheck(lambda x, y: w_mse(x, y, groups, shrinkage=0.05), (a, b))
