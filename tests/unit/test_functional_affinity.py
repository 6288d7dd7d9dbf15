"""Soft targets of a batch against their definitions by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.affinity import affinities, ensembled, soft_divergence


def draws(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_affinities_are_a_softmax_over_the_others() -> None:
    y = draws(6, 3)
    actual = affinities(y, temperature=0.3)
    for i in range(6):
        cosines = [float(y[i] @ y[j] / (y[i].norm() * y[j].norm())) for j in range(6)]
        total = sum(math.exp(cosines[j] / 0.3) for j in range(6) if j != i)
        expected = [0.0 if j == i else math.exp(cosines[j] / 0.3) / total for j in range(6)]
        assert actual[i].tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("lent", [0.0, 0.5, 0.9])
def test_ensembles_are_the_limit_of_lending_again_and_again(lent: float) -> None:
    targets, affinity = draws(6, 4, seed=1).softmax(1), affinities(draws(6, 3), temperature=0.3)
    q = targets
    for _ in range(500):
        lenders = torch.stack([sum(affinity[i, j] * q[j] for j in range(6)) for i in range(6)])
        q = lent * lenders + (1 - lent) * targets
    actual = ensembled(targets, affinity, lent=lent)
    assert torch.allclose(actual, q, rtol=1e-10)
    assert torch.allclose(actual.sum(1), torch.ones(6, dtype=torch.float64))


def test_divergence_is_kullback_and_leiblers() -> None:
    student, targets = draws(5, 4), draws(5, 4, seed=1).softmax(1)
    expected = 0.0
    for i in range(5):
        total = sum(math.exp(float(x) / 0.5) for x in student[i])
        for k in range(4):
            p = math.exp(float(student[i, k]) / 0.5) / total
            expected += float(targets[i, k]) * (math.log(float(targets[i, k])) - math.log(p))
    assert float(soft_divergence(student, targets, temperature=0.5)) == pytest.approx(
        expected / 5, rel=1e-10
    )


def test_known_answers() -> None:
    """Two samples lend to each other only; three identical ones lend evenly and do not change."""
    two = affinities(torch.eye(2, dtype=torch.float64), temperature=0.1)
    assert two.tolist() == [[0, 1], [1, 0]]
    # 1/2 (I - A/2)^-1 = [[2, 1], [1, 2]] / 3.
    mixed = ensembled(torch.eye(2, dtype=torch.float64), two, lent=0.5)
    assert mixed.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3])
    same = torch.ones(3, 2, dtype=torch.float64)
    even = affinities(same, temperature=0.1)
    assert even.flatten().tolist() == pytest.approx([0, 0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0])
    assert torch.allclose(ensembled(same / 2, even, lent=0.9), same / 2)
    logits = draws(5, 4)
    assert float(
        soft_divergence(logits, (logits / 0.2).softmax(1), temperature=0.2)
    ) == pytest.approx(0, abs=1e-12)
    sure = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert float(soft_divergence(torch.zeros_like(sure), sure, temperature=0.1)) == pytest.approx(
        math.log(2)
    )


def test_small_temperatures_stay_finite() -> None:
    affinity = affinities(draws(6, 3).float(), temperature=1e-3)
    assert affinity.isfinite().all()
    assert torch.equal(affinity.diagonal(), torch.zeros(6))


def test_gradients_are_those_of_finite_differences() -> None:
    student, targets = draws(5, 4).requires_grad_(), draws(5, 4, seed=1).softmax(1)
    assert torch.autograd.gradcheck(
        lambda x: soft_divergence(x, targets, temperature=0.5), (student,)
    )


def test_one_sample_has_no_neighbours() -> None:
    with pytest.raises(ConfigError, match="at least 2 samples"):
        affinities(draws(1, 3), temperature=0.1)
    with pytest.raises(ConfigError, match="one shape"):
        soft_divergence(draws(2, 3), draws(3, 3), temperature=0.1)
