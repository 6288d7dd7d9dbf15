"""DirectPred's predictor against its eigenvalues, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.functional.predictor import direct_predictor, participation


def correlation(rows: int = 50, d: int = 5) -> Tensor:
    f = torch.randn(rows, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = f * torch.arange(1, d + 1) + 0.5
    return f.T @ f / rows


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_it_is_the_papers(eps: float, power: float) -> None:
    """Tian et al. 2021, eq. 18, one eigenvector at a time, over the largest as in the code."""
    c = correlation()
    values, vectors = np.linalg.eigh(c.numpy())
    expected = np.zeros_like(c.numpy())
    for d, u in zip(values, vectors.T, strict=True):
        expected += ((d / max(values)) ** power + eps) * np.outer(u, u)
    assert np.allclose(direct_predictor(c, eps=eps, power=power).numpy(), expected, rtol=1e-10)


def test_its_square_is_the_correlation_where_nothing_is_added() -> None:
    c = correlation()
    root = direct_predictor(c, eps=0.0, floor=0.0)
    assert torch.allclose(root @ root, c / torch.linalg.eigvalsh(c)[-1])
    assert torch.allclose(root, root.T)


def test_known_answers() -> None:
    d = torch.diag(torch.tensor([4.0, 1.0, 0.0], dtype=torch.float64))
    assert torch.allclose(
        direct_predictor(d, eps=0.1), torch.diag(torch.tensor([1.1, 0.6, 0.1], dtype=torch.float64))
    )
    floored = direct_predictor(d, eps=0.0)  # a collapsed dimension keeps a little
    assert torch.allclose(floored, torch.diag(torch.tensor([1.0, 0.5, 1e-4], dtype=torch.float64)))
    assert torch.allclose(direct_predictor(torch.eye(3), eps=0.0), torch.eye(3))


def test_the_scale_of_its_inputs_does_not_matter() -> None:
    c = correlation()
    assert torch.allclose(direct_predictor(c, eps=0.1), direct_predictor(1e-3 * c, eps=0.1))


def test_rounding_below_zero_is_zero() -> None:
    """With fewer samples than dimensions, rounding makes eigenvalues negative."""
    f = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    assert direct_predictor(f.T @ f / 3, eps=0.0).isfinite().all()


def test_participation_is_of_the_eigenvalues() -> None:
    c = correlation()
    d = np.linalg.eigvalsh(c.numpy())
    assert float(participation(c)) == pytest.approx(
        sum(d) ** 2 / sum(value**2 for value in d), rel=1e-10
    )
    assert float(participation(1e-6 * c)) == pytest.approx(float(participation(c)), rel=1e-10)
    assert float(participation(3 * torch.eye(4))) == pytest.approx(4)
    assert float(participation(torch.ones(4, 4))) == pytest.approx(1)
    assert float(participation(torch.diag(torch.tensor([1.0, 1.0, 0.0])))) == pytest.approx(2)
    assert float(participation(torch.zeros(4, 4))) == 0
