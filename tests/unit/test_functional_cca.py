"""SSL-EY against its definition by loops, and against the eigenvalues of its minimum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.cca import ssl_ey, ssl_ey_terms


def pair(n: int = 40, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, d, generator=stream, dtype=torch.float64)
    return a + 1, a @ torch.diag(torch.linspace(0.1, 1, d, dtype=torch.float64)) + b


def covariance(x: Tensor, y: Tensor) -> np.ndarray:
    n, d = x.shape
    actual = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            actual[i, j] = sum(
                float((x[s, i] - x[:, i].mean()) * (y[s, j] - y[:, j].mean())) for s in range(n)
            ) / (n - 1)
    return actual


def test_it_is_the_papers() -> None:
    """Chapman et al. 2024: -2 tr(C) + tr(V V).

    C and V are the sums of cross- and of within-view covariances.
    """
    a, b = pair()
    crossed = covariance(a, b) + covariance(b, a)
    within = covariance(a, a) + covariance(b, b)
    expected = -2 * np.trace(crossed) + np.trace(within @ within)
    assert float(ssl_ey(a, b)) == pytest.approx(expected, rel=1e-10)


def test_its_minimum_over_linear_maps_is_minus_the_squared_eigenvalues() -> None:
    """Eckart-Young: of C w = lambda V w, reached where the map's columns have V-norm lambda."""
    a, b = pair()
    crossed, within = covariance(a, b) + covariance(b, a), covariance(a, a) + covariance(b, b)
    values, vectors = scipy.linalg.eigh(crossed, within)
    best = torch.tensor(vectors * np.sqrt(values.clip(0)))
    minimum = -float((values.clip(0) ** 2).sum())
    assert float(ssl_ey(a @ best, b @ best)) == pytest.approx(minimum, rel=1e-9)
    stream = torch.Generator().manual_seed(1)
    for scale in (0.01, 0.1, 1.0):
        other = best + scale * torch.randn(4, 4, generator=stream, dtype=torch.float64)
        assert float(ssl_ey(a @ other, b @ other)) > minimum


def test_no_more_is_captured_than_there_is() -> None:
    """All at the best linear map, the sum of squared eigenvalues; elsewhere less, at any scale."""
    a, b = pair()
    crossed, within = covariance(a, b) + covariance(b, a), covariance(a, a) + covariance(b, b)
    values, vectors = scipy.linalg.eigh(crossed, within)
    there, best = (
        float((values.clip(0) ** 2).sum()),
        torch.tensor(vectors * np.sqrt(values.clip(0))),
    )
    stream = torch.Generator().manual_seed(1)
    for scale in (0.1, 1.0, 10.0):
        assert float(ssl_ey_terms(scale * a @ best, scale * b @ best).captured) == pytest.approx(
            there, rel=1e-9
        )
        other = best + 0.1 * torch.randn(4, 4, generator=stream, dtype=torch.float64)
        terms = ssl_ey_terms(scale * a @ other, scale * b @ other)
        assert -float(terms.loss) <= float(terms.captured) < there * (1 - 1e-6)
    given = ssl_ey_terms(a, b)
    assert float(given.captured) == pytest.approx(
        np.trace(crossed) ** 2 / np.trace(within @ within), rel=1e-10
    )
    assert float(ssl_ey_terms(a, -a).captured) == 0  # anticorrelated
    assert float(ssl_ey_terms(torch.zeros_like(a), torch.zeros_like(a)).captured) == 0


def test_known_answers() -> None:
    """Four points of covariance I/2 (unbiased): -D when views are equal, the rest by hand."""
    a = (
        torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
        * (3 / 8) ** 0.5
    )
    assert float(ssl_ey(a, a)) == pytest.approx(-2)
    assert float(ssl_ey(a, -a)) == pytest.approx(6)  # anticorrelated
    assert float(ssl_ey(a, a.flip(1))) == pytest.approx(2)  # uncorrelated: tr(V V) alone
    assert float(ssl_ey(torch.zeros_like(a), torch.zeros_like(a))) == 0  # collapsed
    assert float(ssl_ey(a[:, :1], a[:, :1])) == pytest.approx(-1)
    collapsed = torch.stack([a[:, 0], torch.full((4,), 3.0, dtype=torch.float64)], dim=1)
    # A dead dimension counts for nothing.
    assert float(ssl_ey(collapsed, collapsed)) == pytest.approx(-1)
    repeated = a[:, :1].expand(-1, 2)
    # A repeated dimension costs what it brings.
    assert float(ssl_ey(repeated, repeated)) == pytest.approx(0)


def test_larger_embeddings_are_not_better_without_end() -> None:
    """The sign trap: with both signs flipped the loss would fall without bound."""
    a, b = pair()
    losses = [float(ssl_ey(s * a, s * b)) for s in (1, 10, 100)]
    assert losses[0] < losses[1] < losses[2]
    rising = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    ssl_ey(rising * a, rising * b).backward()  # out of the collapse
    assert rising.grad is not None
    assert rising.grad < 0


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(ssl_ey, tuple(z.requires_grad_() for z in pair(6, 3)))


def test_what_has_no_covariance_is_an_error() -> None:
    a, b = pair()
    with pytest.raises(ConfigError, match="at least 2 samples"):
        ssl_ey(a[:1], b[:1])
    with pytest.raises(ConfigError, match="one shape"):
        ssl_ey(a, b[:1])
