"""Relations of pairs, against the formulas."""

from __future__ import annotations

import math

import pytest
import torch

from manta.errors import ConfigError
from manta.functional.relations import aggregate, focal_bce


def by_loops(logits: list[float], related: list[bool], gamma: float, alpha: float) -> float:
    """Return Lin et al. 2017, eq. 5."""
    total = 0.0
    for logit, answer in zip(logits, related, strict=True):
        p = 1 / (1 + math.exp(-logit))
        p_t, alpha_t = (p, alpha) if answer else (1 - p, 1 - alpha)
        total -= alpha_t * (1 - p_t) ** gamma * math.log(p_t)
    return total / len(logits)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.5), (0.0, 0.5), (1.5, 0.25)])
def test_focal_bce_is_the_papers(gamma: float, alpha: float) -> None:
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    related = torch.arange(9) % 3 == 0
    actual = focal_bce(logits, related, gamma=gamma, alpha=alpha)
    assert float(actual) == pytest.approx(
        by_loops(logits.tolist(), related.tolist(), gamma, alpha), rel=1e-12
    )


def test_known_answers() -> None:
    undecided, related = (
        torch.zeros(4, dtype=torch.float64),
        torch.tensor([True, False, True, False]),
    )
    assert float(focal_bce(undecided, related, gamma=2.0, alpha=0.5)) == pytest.approx(
        0.5 * 0.25 * math.log(2)
    )
    assert float(focal_bce(undecided, related, gamma=0.0, alpha=0.5)) == pytest.approx(
        0.5 * math.log(2)
    )
    sure = 1e3 * (2 * related.double() - 1)
    assert float(focal_bce(sure, related, gamma=2.0, alpha=0.5)) == 0
    assert float(focal_bce(-sure, related, gamma=2.0, alpha=0.5)) == pytest.approx(500)


def test_gradients_are_those_of_finite_differences() -> None:
    logits, related = (
        torch.linspace(-3, 3, 6, dtype=torch.float64).requires_grad_(),
        torch.arange(6) % 2 == 0,
    )
    assert torch.autograd.gradcheck(
        lambda x: focal_bce(x, related, gamma=2.0, alpha=0.3), (logits,)
    )
    sure = torch.tensor([200.0, -200.0], requires_grad=True)
    for answers in ([True, False], [False, True]):
        loss = focal_bce(sure, torch.tensor(answers), gamma=2.0, alpha=0.5)
        assert torch.autograd.grad(loss, sure)[0].isfinite().all()


def test_pairs_are_put_together_in_each_way() -> None:
    a, b = torch.tensor([[1.0, 4.0]]), torch.tensor([[3.0, 2.0]])
    assert aggregate(a, b, "cat").tolist() == [[1, 4, 3, 2]]
    assert aggregate(a, b, "sum").tolist() == [[4, 6]]
    assert aggregate(a, b, "mean").tolist() == [[2, 3]]
    assert aggregate(a, b, "max").tolist() == [[3, 4]]
    with pytest.raises(ConfigError, match="one shape"):
        aggregate(a, b[:, :1], "sum")
