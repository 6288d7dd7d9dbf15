"""Swapped prediction and MSN's terms against the papers' formulas, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.prototypes import msn_terms, sharpened, swapped_prediction


def random(*shape: int, seed: int = 0) -> Tensor:
    return (
        torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
        - 1
    )


def softmax(row: Tensor, t: float) -> list[float]:
    exponentials = [math.exp(float(x) / t) for x in row]
    return [x / sum(exponentials) for x in exponentials]


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_swapped_prediction_is_the_papers(temperature: float) -> None:
    """Caron et al. 2020, eq. 2."""
    scores, codes = random(5, 4), torch.softmax(3 * random(5, 4, seed=1), dim=1)
    expected = 0.0
    for n in range(5):
        p = softmax(scores[n], temperature)
        expected -= sum(float(codes[n, k]) * math.log(p[k]) for k in range(4)) / 5
    assert float(swapped_prediction(scores, codes, temperature=temperature)) == pytest.approx(
        expected, rel=1e-12
    )


def test_known_swapped_predictions() -> None:
    codes = torch.eye(4, dtype=torch.float64)
    nothing = torch.zeros(4, 4, dtype=torch.float64)
    assert float(swapped_prediction(nothing, codes, temperature=0.1)) == pytest.approx(math.log(4))
    right = -math.log(math.exp(10) / (math.exp(10) + 3))
    assert float(swapped_prediction(codes, codes, temperature=0.1)) == pytest.approx(right)
    assert float(swapped_prediction(codes.roll(1, 0), codes, temperature=0.1)) == pytest.approx(
        right + 10
    )


def msn_by_loops(
    anchors: Tensor, targets: Tensor, t: float, sharpening: float
) -> tuple[float, float]:
    """Return Assran et al. 2022, section 3, with targets sharpened by the power 1 / T.

    Targets start from the anchors' temperature.
    """
    views, samples, k = anchors.shape
    prediction, mean = 0.0, [0.0] * k
    for n in range(samples):
        powers = [p ** (1 / sharpening) for p in softmax(targets[n], t)]
        target = [p / sum(powers) for p in powers]
        for m in range(views):
            p = softmax(anchors[m, n], t)
            prediction -= sum(target[i] * math.log(p[i]) for i in range(k)) / (views * samples)
            mean = [mean[i] + p[i] / (views * samples) for i in range(k)]
    return prediction, -sum(p * math.log(p) for p in mean)


@pytest.mark.parametrize("sharpening", [0.25, 1.0])
def test_msn_is_the_papers(sharpening: float) -> None:
    anchors, targets = random(3, 5, 4), random(5, 4, seed=1)
    terms = msn_terms(anchors, sharpened(targets, temperature=0.2 * sharpening), temperature=0.2)
    prediction, entropy = msn_by_loops(anchors, targets, 0.2, sharpening)
    assert float(terms.prediction) == pytest.approx(prediction, rel=1e-12)
    assert float(terms.entropy) == pytest.approx(entropy, rel=1e-12)


def test_known_msn_terms() -> None:
    spread = torch.eye(4, dtype=torch.float64)
    terms = msn_terms(spread[None], sharpened(spread, temperature=0.005), temperature=0.02)
    assert float(terms.prediction) == pytest.approx(0.0, abs=1e-12)
    assert float(terms.entropy) == pytest.approx(math.log(4))  # every prototype is used alike
    collapsed = spread[:1].expand(4, 4)
    terms = msn_terms(collapsed[None], sharpened(collapsed, temperature=0.005), temperature=0.02)
    assert float(terms.prediction) == pytest.approx(0.0, abs=1e-12)
    # The entropy term shows the collapse.
    assert float(terms.entropy) == pytest.approx(0.0, abs=1e-12)


def test_a_prototype_that_none_uses_has_a_finite_gradient() -> None:
    anchors = torch.tensor([[[1.0, 1.0, -1.0]]], requires_grad=True)
    msn_terms(anchors, torch.full((1, 3), 1 / 3), temperature=0.01).entropy.backward()
    assert anchors.grad is not None
    assert anchors.grad.isfinite().all()


def test_the_entropy_is_that_of_all_ranks() -> None:
    anchors, codes = random(2, 6, 4), torch.softmax(random(6, 4, seed=1), dim=1)
    whole = msn_terms(anchors, codes, temperature=0.2)
    mean = torch.softmax(anchors / 0.2, dim=2).mean((0, 1))
    part = msn_terms(anchors[:, :3], codes[:3], temperature=0.2, average=lambda _: mean)
    assert float(part.entropy) == pytest.approx(float(whole.entropy), rel=1e-12)
    alone = msn_terms(anchors[:, :3], codes[:3], temperature=0.2)
    assert abs(float(alone.entropy) - float(whole.entropy)) > 1e-3


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="one shape"):
        swapped_prediction(torch.zeros(2, 3), torch.zeros(2, 4), temperature=0.1)
    with pytest.raises(ConfigError, match="must fit codes"):
        msn_terms(torch.zeros(1, 2, 3), torch.zeros(2, 4), temperature=0.1)
