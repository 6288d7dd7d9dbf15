"""The parts of a probe's risk against scikit-learn's probes, and in cases where only one of them
can be large."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from manta.evaluators import Features, build
from manta.evaluators.risk import RiskConfig

PARTS = ("risk_approximation", "risk_usability", "risk_probe", "risk_encoder")


def digits(rows: int = 600) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(2).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


def wrong(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor, l2: float) -> float:
    spread, mean = torch.std_mean(bank, dim=0, correction=0)
    spread[spread == 0] = 1
    probe = LogisticRegression(C=1 / (l2 * len(bank)), max_iter=5000).fit(
        (bank - mean) / spread, labels
    )
    return 1 - float(probe.score((queries - mean) / spread, truth))


def test_the_parts_are_differences_of_scikit_learns_probes_and_add_up() -> None:
    features = digits()
    labels, truth = features.bank_labels, features.query_labels
    assert labels is not None
    assert truth is not None
    numbers = build(RiskConfig(l2=(0.03,), held_out=0.25, approximation=0.01, seed=5)).mean_scores(
        features
    )
    order = torch.randperm(600, generator=torch.Generator().manual_seed(5))
    bank, answers = features.bank[order], labels[order]
    fitted = wrong(bank, answers, bank, answers, 0.03)
    held_out = wrong(bank[150:], answers[150:], bank[:150], answers[:150], 0.03)
    total = wrong(bank, answers, features.queries, truth, 0.03)
    expected = (0.01, fitted - 0.01, held_out - fitted, total - held_out)
    for part, value in zip(PARTS, expected, strict=True):
        assert numbers[part] == pytest.approx(value, abs=0.004)
    assert numbers["risk_total"] == pytest.approx(total, abs=0.004)
    assert sum(numbers[part] for part in PARTS) == pytest.approx(numbers["risk_total"], abs=1e-12)
    assert set(numbers) == {*PARTS, "risk_total"}
    assert total > 0.02


def test_the_fitted_probe_has_the_weakest_penalty() -> None:
    features = digits(300)
    strong = build(RiskConfig(l2=(10.0,))).mean_scores(features)
    both = build(RiskConfig(l2=(10.0, 1e-4))).mean_scores(features)
    assert both["risk_usability"] == 0.0 < strong["risk_usability"]


def halves(generator: torch.Generator, *, rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Two classes, one on each side along the first axis, and noise along the others."""
    labels = torch.arange(rows) % 2
    x = torch.randn(rows, width, generator=generator)
    x[:, 0] = 4 * (labels * 2 - 1) + 0.3 * x[:, 0]
    return x, labels


def test_each_cause_shows_in_its_own_part() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, labels = halves(generator, rows=600, width=20)
    queries, truth = halves(generator, rows=400, width=20)
    good = build(RiskConfig()).mean_scores(Features(bank, queries, labels, truth))
    assert max(good.values()) < 0.01
    # Rows that the encoder never saw land anywhere: encoder generalisation.
    lost = torch.randn(400, 20, generator=generator)
    parts = build(RiskConfig()).mean_scores(Features(bank, lost, labels, truth))
    assert parts["risk_encoder"] == pytest.approx(0.5, abs=0.1)
    assert parts["risk_usability"] + parts["risk_probe"] < 0.01
    # Features that say nothing of the classes: usability.
    blind = torch.ones(600, 20)
    parts = build(RiskConfig()).mean_scores(Features(blind, blind[:400], labels, truth))
    assert parts["risk_usability"] == 0.5
    assert abs(parts["risk_probe"]) + abs(parts["risk_encoder"]) < 0.15
    # As many dimensions as rows, all noise: any labels are fitted and none generalised, which is
    # the probe's part.
    noise = torch.randn(400, 300, generator=generator)
    some = torch.arange(400) % 2
    parts = build(RiskConfig()).mean_scores(
        Features(noise[:200], noise[200:], some[:200], some[200:])
    )
    assert parts["risk_usability"] == 0.0
    assert parts["risk_probe"] == pytest.approx(0.5, abs=0.15)


def test_few_rows_cost_the_probe() -> None:
    features = digits(1000)
    few, many = (
        build(RiskConfig(rows=rows, l2=(0.1,))).mean_scores(features) for rows in (50, 1000)
    )
    assert few["risk_probe"] > many["risk_probe"] + 0.1


def test_no_numbers_from_features_that_are_not_finite_but_some_in_inference_mode() -> None:
    broken = torch.full((40, 3), math.nan)
    labels = torch.arange(40) % 2
    numbers = build(RiskConfig()).mean_scores(Features(broken, broken, labels, labels))
    assert math.isnan(numbers["risk_total"])
    with torch.inference_mode():
        features = digits(100)
        assert build(RiskConfig(l2=(0.1,))).mean_scores(features)["risk_total"] < 0.3
