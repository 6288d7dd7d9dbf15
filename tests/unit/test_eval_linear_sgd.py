"""The SGD probe against a loop in float64, scikit-learn's accuracy, and its choice of the learning
rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from manta.evaluators import Features, build, counted
from manta.evaluators.linear_sgd import LinearSGD, LinearSGDConfig


def digits(rows: int = 600) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


def test_fit_equals_momentum_sgd_by_loops() -> None:
    features = digits(100)
    labels = features.bank_labels
    assert labels is not None
    config = LinearSGDConfig(epochs=3, batch_size=32, momentum=0.8, seed=4)
    x = features.bank.double() / 8 - 1
    found = LinearSGD(config)._fit(x, labels, 10, (0.5, 0.01))
    rows, answers = np.hstack([x.numpy(), np.ones((100, 1))]), labels.numpy()
    generator = torch.Generator().manual_seed(4)
    batches = [
        part.numpy()
        for _ in range(3)
        for part in torch.randperm(100, generator=generator).split(32)
    ]
    for weight, rate in zip(found, (0.5, 0.01), strict=True):
        expected, velocity = np.zeros((10, 65)), np.zeros((10, 65))
        for step, batch in enumerate(batches):
            scores = rows[batch] @ expected.T
            chances = np.exp(scores - scores.max(1, keepdims=True))
            chances /= chances.sum(1, keepdims=True)
            chances[np.arange(len(batch)), answers[batch]] -= 1
            velocity = 0.8 * velocity + chances.T @ rows[batch] / len(batch)
            expected -= rate * 0.5 * (1 + math.cos(math.pi * step / len(batches))) * velocity
        np.testing.assert_allclose(weight.numpy(), expected, atol=1e-9)
    assert len(batches) == 12


def test_probe_of_digits_is_as_good_as_scikit_learns() -> None:
    features = digits(1200)
    numbers = build(LinearSGDConfig(epochs=40, lr=(0.1,))).mean_scores(features)
    spread, mean = torch.std_mean(features.bank, dim=0, correction=0)
    spread[spread == 0] = 1
    reference = LogisticRegression(C=1.0, max_iter=2000).fit(
        (features.bank - mean) / spread, features.bank_labels
    )
    expected = reference.score((features.queries - mean) / spread, features.query_labels)
    assert numbers["linear_sgd_top1"] == pytest.approx(expected, abs=0.012)
    assert expected > 0.95
    swept = build(LinearSGDConfig(epochs=40)).mean_scores(features)
    assert swept["linear_sgd_top1"] == pytest.approx(expected, abs=0.02)
    assert swept["linear_sgd_lr"] > 0.003


def test_the_rate_is_chosen_by_the_bank_alone_and_not_the_worst() -> None:
    features = digits(400)
    config = LinearSGDConfig(epochs=5, lr=(1e-7, 0.1, 1e-6))
    found = build(config).mean_scores(features)
    assert found["linear_sgd_lr"] == 0.1
    others = Features(
        features.bank, torch.randn(300, 64), features.bank_labels, torch.arange(300) % 10
    )
    assert build(config).mean_scores(others)["linear_sgd_lr"] == 0.1
    alone = build(LinearSGDConfig(epochs=5, lr=(0.1,))).mean_scores(features)
    assert alone == found
    assert (
        build(LinearSGDConfig(epochs=1, lr=(1e-7,))).mean_scores(features)["linear_sgd_lr"] == 1e-7
    )


def test_the_accuracy_is_the_mean_of_correct_answers() -> None:
    features = digits(400)
    evaluator = build(LinearSGDConfig(epochs=2, lr=(0.1,), chunk=77))
    hits = counted(evaluator.evaluate(features))["linear_sgd_top1"]
    assert hits.dtype == torch.bool
    assert len(hits) == len(features.queries)
    assert float(hits.double().mean()) == evaluator.mean_scores(features)["linear_sgd_top1"]
    assert 0.8 < float(hits.double().mean()) < 1


def test_rows_are_drawn_scale_is_no_matter_and_nan_is_no_error() -> None:
    features = digits()
    labels = features.bank_labels
    assert labels is not None
    order = labels.argsort()
    scaled = Features(
        1000 * features.bank[order], 1000 * features.queries, labels[order], features.query_labels
    )  # sorted by class: the first rows hold a few classes only
    with torch.inference_mode():
        numbers = build(LinearSGDConfig(rows=200, epochs=10, lr=(0.1,))).mean_scores(scaled)
    assert numbers["linear_sgd_top1"] > 0.7
    broken = torch.full((40, 3), math.nan)
    nothing = build(LinearSGDConfig()).mean_scores(
        Features(broken, broken, torch.arange(40) % 2, torch.arange(40) % 2)
    )
    assert all(map(math.isnan, nothing.values()))
