"""NT-Xent and DCL against the papers' formulas, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import dcl, nt_xent


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def nt_xent_by_loops(z_a: Tensor, z_b: Tensor, t: float) -> float:
    """Return Chen et al. 2020, eq. 1 and algorithm 1: 2N rows, each against the 2N - 1 others."""
    n, z = len(z_a), [*z_a, *z_b]
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        denominator = sum(math.exp(cosine(z[i], z[k]) / t) for k in range(2 * n) if k != i)
        total += -math.log(math.exp(cosine(z[i], z[partner]) / t) / denominator)
    return total / (2 * n)


def dcl_by_loops(z_a: Tensor, z_b: Tensor, t: float, sigma: float | None = None) -> float:
    """Return Yeh et al. 2022, eq. 6 and 7: the sum is over both views l and all other samples j."""
    n, views = len(z_a), (z_a, z_b)
    expectation = (
        sum(math.exp(cosine(z_a[i], z_b[i]) / sigma) for i in range(n)) / n if sigma else 1.0
    )
    total = 0.0
    for k in range(2):
        for i in range(n):
            positive = cosine(z_a[i], z_b[i])
            weight = 2 - math.exp(positive / sigma) / expectation if sigma else 1.0
            negatives = sum(
                math.exp(cosine(views[k][i], views[m][j]) / t)
                for m in range(2)
                for j in range(n)
                if j != i
            )
            total += -weight * positive / t + math.log(negatives)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_nt_xent_is_the_papers(temperature: float, seed: int) -> None:
    a, b = pair(seed=seed)
    assert float(nt_xent(a, b, temperature=temperature)) == pytest.approx(
        nt_xent_by_loops(a, b, temperature), rel=1e-12
    )


@pytest.mark.parametrize("sigma", [None, 0.5, 2.0])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_dcl_is_the_papers(temperature: float, sigma: float | None) -> None:
    a, b = pair()
    expected = dcl_by_loops(a, b, temperature, sigma)
    assert float(dcl(a, b, temperature=temperature, sigma=sigma)) == pytest.approx(
        expected, rel=1e-12
    )


def test_dcl_takes_one_log_sum_exp_over_both_views() -> None:
    """The widely copied mistake adds a log-sum-exp per view: another loss, another gradient."""

    def mistaken(z_a: Tensor, z_b: Tensor, t: float) -> Tensor:
        a, b = (z / z.norm(dim=1, keepdim=True) for z in (z_a, z_b))
        others = ~torch.eye(len(a), dtype=torch.bool)
        rows = []
        for x, y in ((a, b), (b, a)):
            for i in range(len(x)):
                within, across = (
                    (x[i] @ x[others[i]].T / t).logsumexp(0),
                    (x[i] @ y[others[i]].T / t).logsumexp(0),
                )
                rows.append(-(x[i] @ y[i]) / t + within + across)
        return torch.stack(rows).mean()

    a, b = pair()
    a.requires_grad_()
    right, wrong = dcl(a, b, temperature=0.1), mistaken(a, b, 0.1)
    (g_right,), (g_wrong,) = torch.autograd.grad(right, a), torch.autograd.grad(wrong, a)
    assert float(right.detach()) == pytest.approx(dcl_by_loops(a.detach(), b, 0.1), rel=1e-12)
    assert abs(float((right - wrong).detach())) > 1.0
    assert float(g_wrong.norm() / g_right.norm()) > 1.3


def test_the_two_differ_by_the_positive_in_the_denominator_alone() -> None:
    """Per anchor NT-Xent = log(e^DCL + 1); here all anchors are alike, so it holds for the mean."""
    a = torch.eye(4, dtype=torch.float64)
    for t in (0.1, 1.0):
        decoupled = float(dcl(a, a, temperature=t))
        assert decoupled == pytest.approx(math.log(6) - 1 / t, rel=1e-12)  # 6 orthogonal negatives
        assert float(nt_xent(a, a, temperature=t)) == pytest.approx(
            math.log(math.exp(decoupled) + 1), rel=1e-9
        )


def test_known_answers() -> None:
    same = torch.ones(3, 2, dtype=torch.float64)  # collapsed: all cosines are 1
    assert float(nt_xent(same, same, temperature=0.2)) == pytest.approx(math.log(5))
    assert float(dcl(same, same, temperature=0.2)) == pytest.approx(math.log(4))
    # Equal weights are 1.
    assert float(dcl(same, same, temperature=0.2, sigma=0.5)) == pytest.approx(math.log(4))
    # Orthogonal views.
    a, b = (
        torch.eye(4, dtype=torch.float64)[:2],
        torch.eye(4, dtype=torch.float64)[2:],
    )
    assert float(nt_xent(a, b, temperature=0.2)) == pytest.approx(math.log(3))
    assert float(dcl(a, b, temperature=0.2)) == pytest.approx(math.log(2))


def test_dclw_weighs_hard_positives_more() -> None:
    """Two samples with cosines 1 and 0: weights 2 - 2 softmax, whose mean is 1."""
    a = torch.eye(4, dtype=torch.float64)[:2]
    b = torch.stack([a[0], torch.eye(4, dtype=torch.float64)[2]])
    easy = 2 - 2 * math.exp(2) / (math.exp(2) + 1)
    uniformity = float(dcl(a, b, temperature=1.0)) + 0.5  # the plain mean positive is (1 + 0) / 2
    assert float(dcl(a, b, temperature=1.0, sigma=0.5)) == pytest.approx(
        uniformity - easy / 2, rel=1e-12
    )


def test_scale_of_embeddings_does_not_matter() -> None:
    a, b = pair()
    for loss in (nt_xent, dcl):
        assert torch.allclose(
            loss(a, b, temperature=0.3), loss(7 * a, 0.1 * b, temperature=0.3), rtol=1e-12
        )


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_parts_against_all_keys_average_to_the_whole(sigma: float | None) -> None:
    a, b = pair(8)
    for whole, one in (
        (nt_xent(a, b, temperature=0.2), lambda *z, **k: nt_xent(*z, temperature=0.2, **k)),
        (
            dcl(a, b, temperature=0.2, sigma=sigma),
            lambda *z, **k: dcl(*z, temperature=0.2, sigma=sigma, **k),
        ),
    ):
        for rows in (2, 4, 8):
            parts = [
                one(a[i : i + rows], b[i : i + rows], keys_a=a, keys_b=b, offset=i)
                for i in range(0, len(a), rows)
            ]
            assert float(torch.stack(parts).mean()) == pytest.approx(float(whole), rel=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda *z: nt_xent(*z, temperature=0.3), (a, b))
    assert torch.autograd.gradcheck(lambda *z: dcl(*z, temperature=0.3), (a, b))
    assert torch.autograd.gradcheck(lambda *z: dcl(*z, temperature=0.3, sigma=0.5), (a, b))
    c, d = (z.requires_grad_() for z in pair(4, 3, seed=1))
    assert torch.autograd.gradcheck(
        lambda x, y, k, m: dcl(
            x[1:3], y[1:3], temperature=0.3, sigma=0.5, keys_a=k, keys_b=m, offset=1
        ),
        (a, b, c, d),
    )


def test_small_temperatures_stay_finite() -> None:
    """Masking is exact: a masked entry is -inf, so nothing leaks or overflows."""
    a, b = (z.float().requires_grad_() for z in pair())
    for loss in (nt_xent(a, b, temperature=1e-3), dcl(a, b, temperature=1e-3)):
        gradients = torch.autograd.grad(loss, (a, b))
        assert loss.isfinite()
        assert all(g.isfinite().all() for g in gradients)
    cold = dcl(a.detach(), b.detach(), temperature=1e-2)
    assert float(cold) == pytest.approx(
        dcl_by_loops(a.detach().double(), b.detach().double(), 1e-2), rel=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: dcl(a[:1], b[:1], temperature=1.0), "at least 2 samples"),
        (lambda a, b: dcl(a, b[:1], temperature=1.0), "one shape"),
        (lambda a, b: nt_xent(a, b, temperature=1.0, keys_a=a), "go together"),
        (lambda a, b: nt_xent(a, b, temperature=1.0, offset=2), "go together"),
        (lambda a, b: nt_xent(a, b, temperature=1.0, keys_a=a, keys_b=b, offset=2), "not among"),
    ],
)
def test_what_cannot_be_compared_is_an_error(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(*pair())
