"""MLS against the paper's formulas, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.multilabel import dictionary_logits, multilabel_bce, nearest_labels


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def by_loops(z: Tensor, rows: Tensor, labels: list[list[bool]], t: float) -> float:
    """Zhu et al. 2023, eq. 8 and 9."""
    total = 0.0
    for i in range(len(z)):
        for j in range(len(rows)):
            p = 1 / (1 + math.exp(-cosine(z[i], rows[j]) / t))
            total -= math.log(p if labels[i][j] else 1 - p)
    return total / (len(z) * len(rows))


@pytest.mark.parametrize("k", [1, 3, 50])
def test_labels_are_the_nearest(k: int) -> None:
    features, rows = random(4, 3), random(7, 3, seed=1)
    labels = nearest_labels(features, rows, k=k)
    for i in range(4):
        order = sorted(range(7), key=lambda j: -cosine(features[i], rows[j]))
        assert labels[i].nonzero().flatten().tolist() == sorted(order[:k])


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_bce_is_the_papers(temperature: float) -> None:
    z, rows = random(4, 3), random(7, 3, seed=1)
    labels = nearest_labels(random(4, 5, seed=2), random(7, 5, seed=3), k=2)
    actual = multilabel_bce(dictionary_logits(z, rows, temperature=temperature), labels)
    assert float(actual) == pytest.approx(
        by_loops(z, rows, labels.tolist(), temperature), rel=1e-12
    )


def test_rows_that_are_not_there_do_not_count() -> None:
    z, rows, valid = (
        random(4, 3),
        random(7, 3, seed=1),
        torch.tensor([True, True, False, True, False, False, True]),
    )
    there = rows[valid]
    labels = nearest_labels(z, rows, k=3, valid=valid)
    assert torch.equal(labels[:, valid], nearest_labels(z, there, k=3))
    assert not labels[:, ~valid].any()
    assert int(nearest_labels(z, rows, k=6, valid=valid).sum()) == 4 * 4  # fewer than k are there
    logits = dictionary_logits(z, rows, temperature=0.2, valid=valid)
    expected = multilabel_bce(dictionary_logits(z, there, temperature=0.2), labels[:, valid])
    assert float(multilabel_bce(logits, labels)) == pytest.approx(float(expected), rel=1e-12)


def test_known_answers() -> None:
    a = torch.eye(4, dtype=torch.float64)
    labels = nearest_labels(a, a, k=1)
    assert torch.equal(labels, torch.eye(4, dtype=torch.bool))
    loss = multilabel_bce(dictionary_logits(a, a, temperature=0.5), labels)  # logits of 2 and 0
    assert float(loss) == pytest.approx((math.log1p(math.exp(-2)) + 3 * math.log(2)) / 4)
    same = torch.ones(4, 2, dtype=torch.float64)  # collapsed: every logit is 2
    collapsed = multilabel_bce(dictionary_logits(same, same, temperature=0.5), labels)
    assert float(collapsed) == pytest.approx(
        (math.log1p(math.exp(-2)) + 3 * (2 + math.log1p(math.exp(-2)))) / 4
    )


def test_gradients_are_those_of_finite_differences() -> None:
    z, rows = random(3, 3).requires_grad_(), random(5, 3, seed=1)
    labels, valid = torch.arange(15).view(3, 5) % 4 == 0, torch.tensor([True] * 4 + [False])
    labels = labels & valid
    assert torch.autograd.gradcheck(
        lambda x: multilabel_bce(dictionary_logits(x, rows, temperature=0.3, valid=valid), labels),
        (z,),
    )


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="one shape"):
        multilabel_bce(random(3, 4), torch.zeros(3, 1, dtype=torch.bool))
