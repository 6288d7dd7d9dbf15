"""NT-Xent with allowed negatives, against its formula written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import nt_xent
from manta.functional.restricted import restricted_nt_xent


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def some(n: int, m: int) -> Tensor:
    return torch.rand(n, m, generator=torch.Generator().manual_seed(3)) < 0.5


def by_loops(z_a: Tensor, z_b: Tensor, allowed: Tensor, t: float) -> float:
    def exp(x: Tensor, y: Tensor) -> float:
        return math.exp(float(x @ y / (x.norm() * y.norm())) / t)

    views, n, total = (z_a, z_b), len(z_a), 0.0
    for k in range(2):
        for i in range(n):
            positive = exp(z_a[i], z_b[i])
            negatives = sum(
                exp(views[k][i], views[m][j])
                for m in range(2)
                for j in range(n)
                if j != i and allowed[i, j]
            )
            total += -math.log(positive / (positive + negatives))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_it_is_the_formula(temperature: float) -> None:
    a, b = pair()
    loss = restricted_nt_xent(a, b, allowed=some(6, 6), temperature=temperature)
    assert float(loss) == pytest.approx(by_loops(a, b, some(6, 6), temperature), rel=1e-12)


def test_with_all_allowed_it_is_nt_xent_and_with_none_it_is_nothing() -> None:
    a, b = (z.requires_grad_() for z in pair())
    everyone = torch.ones(6, 6, dtype=torch.bool)
    whole = restricted_nt_xent(a, b, allowed=everyone, temperature=0.2)
    assert float(whole.detach()) == pytest.approx(
        float(nt_xent(a, b, temperature=0.2).detach()), rel=1e-12
    )
    nothing = restricted_nt_xent(a, b, allowed=~everyone, temperature=0.2)
    gradients = torch.autograd.grad(nothing, (a, b))
    assert float(nothing.detach()) == 0
    assert all(not gradient.any() for gradient in gradients)


def test_known_answers() -> None:
    """Orthogonal samples of two classes: negatives are both views of the other class's samples."""
    a = torch.eye(4, dtype=torch.float64)
    classes = torch.tensor([0, 0, 0, 1])
    loss = restricted_nt_xent(a, a, allowed=classes[:, None] != classes, temperature=1.0)
    of_three, of_one = math.log(1 + 2 / math.e), math.log(1 + 6 / math.e)
    assert float(loss) == pytest.approx((3 * of_three + of_one) / 4, rel=1e-12)
    same = torch.ones(3, 2, dtype=torch.float64)
    loss = restricted_nt_xent(
        same, same, allowed=torch.ones(3, 3, dtype=torch.bool), temperature=0.1
    )
    assert float(loss) == pytest.approx(math.log(5))


def test_parts_against_all_keys_average_to_the_whole() -> None:
    a, b = pair(8)
    whole = restricted_nt_xent(a, b, allowed=some(8, 8), temperature=0.2)
    for rows in (2, 4):
        parts = [
            restricted_nt_xent(
                a[i : i + rows],
                b[i : i + rows],
                allowed=some(8, 8)[i : i + rows],
                temperature=0.2,
                keys_a=a,
                keys_b=b,
                offset=i,
            )
            for i in range(0, 8, rows)
        ]
        assert float(torch.stack(parts).mean()) == pytest.approx(float(whole), rel=1e-12)


def test_gradients_are_those_of_finite_differences_and_stay_finite() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    allowed = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    assert torch.autograd.gradcheck(
        lambda *z: restricted_nt_xent(*z, allowed=allowed, temperature=0.3), (a, b)
    )
    cold = restricted_nt_xent(a.float(), b.float(), allowed=allowed, temperature=1e-3)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(cold, (a, b)))


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"of shape \(6, 6\)"):
        restricted_nt_xent(*pair(), allowed=some(6, 5), temperature=1.0)
