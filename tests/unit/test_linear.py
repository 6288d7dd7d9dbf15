from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from manta.evaluators import Features, build
from manta.evaluators.linear import LinearConfig, fit, logits


def digits(rows: int = 1200) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


@pytest.mark.parametrize("l2", [1.0, 1e-2])
def test_fit_is_scikit_learns_logistic_regression(l2: float) -> None:
    features = digits(600)
    x, y = (features.bank / 8 - 1).double(), features.bank_labels
    assert y is not None
    weight = fit(x, y, classes=10, l2=l2, iterations=2000, chunk=77, tolerance=1e-8)
    reference = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=5000).fit(
        x.numpy(), y.numpy()
    )
    expected = torch.tensor(reference.predict_proba(features.queries.double().numpy() / 8 - 1))
    actual = logits(weight, features.queries.double() / 8 - 1).softmax(1)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(weight[:, :-1], torch.tensor(reference.coef_), atol=1e-4, rtol=0)


def test_probe_of_digits() -> None:
    features = digits()
    assert features.bank_labels is not None
    assert features.query_labels is not None
    numbers = build(LinearConfig()).mean_scores(features)
    spread, mean = torch.std_mean(features.bank, dim=0, correction=0)
    spread[spread == 0] = 1
    reference = LogisticRegression(C=1 / (numbers["linear_l2"] * 1200), max_iter=2000)
    reference.fit(((features.bank - mean) / spread).numpy(), features.bank_labels.numpy())
    expected = reference.score(
        ((features.queries - mean) / spread).numpy(), features.query_labels.numpy()
    )
    assert numbers["linear_top1"] == pytest.approx(expected, abs=0.005)
    assert expected > 0.94
    assert numbers == build(LinearConfig(chunk=100)).mean_scores(features)


def test_the_strength_is_chosen_without_the_queries() -> None:
    features = digits()
    honest = build(LinearConfig()).mean_scores(features)["linear_l2"]
    assert features.query_labels is not None
    others = Features(
        features.bank, torch.randn(300, 64), features.bank_labels, torch.arange(300) % 10
    )
    assert build(LinearConfig()).mean_scores(others)["linear_l2"] == honest


def test_the_strength_follows_the_data() -> None:
    # A third of the labels are wrong and there are half as many dimensions as rows: only a strong
    # penalty generalises.
    torch.manual_seed(0)
    labels = torch.arange(1600) % 2
    x = torch.randn(1600, 400)
    x[:, :100] += 0.2 * (labels[:, None] * 2 - 1)
    noisy = torch.where(torch.rand(1600) < 0.3, 1 - labels, labels)
    features = Features(x[:800], x[800:], noisy[:800], labels[800:])
    weak = build(LinearConfig(l2=(1e-6,))).mean_scores(features)
    chosen = build(LinearConfig(l2=(1e-6, 1.0))).mean_scores(features)
    assert chosen["linear_l2"] == 1.0
    assert chosen["linear_top1"] > weak["linear_top1"] + 0.1


def test_scale_and_constant_dimensions_do_not_matter() -> None:
    features = digits()
    scale = torch.logspace(-3, 3, 64)
    scaled = Features(
        features.bank * scale, features.queries * scale, features.bank_labels, features.query_labels
    )
    plain, other = (
        build(LinearConfig()).mean_scores(features),
        build(LinearConfig()).mean_scores(scaled),
    )
    assert other["linear_top1"] == pytest.approx(plain["linear_top1"], abs=0.005)
    constant = Features(
        torch.ones(20, 3), torch.ones(10, 3), torch.arange(20) % 2, torch.arange(10) % 2
    )
    assert build(LinearConfig()).mean_scores(constant)["linear_top1"] == 0.5


def test_bank_rows_are_drawn_not_cut_off() -> None:
    # Sorted by class, the first rows hold two classes only.
    features = digits()
    assert features.bank_labels is not None
    order = features.bank_labels.argsort()
    ordered = Features(
        features.bank[order], features.queries, features.bank_labels[order], features.query_labels
    )
    assert build(LinearConfig(rows=240)).mean_scores(ordered)["linear_top1"] > 0.8


def test_features_that_are_not_finite_do_not_raise() -> None:
    features = torch.full((40, 3), float("nan"))
    labels = torch.arange(40) % 2
    assert math.isnan(
        build(LinearConfig()).mean_scores(Features(features, features, labels, labels))[
            "linear_top1"
        ]
    )


def test_it_fits_inside_inference_mode() -> None:
    with torch.inference_mode():
        features = digits()
        assert build(LinearConfig(rows=300)).mean_scores(features)["linear_top1"] > 0.8
