from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binom, bootstrap
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from manta.evaluators import (
    Evaluator,
    Features,
    build,
    counted,
    evaluate_all,
    interval,
    paired_gain,
)
from manta.evaluators.knn import KNNConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.rank import RankConfig


def answers(rows: int, accuracy: float, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(rows) < accuracy)


@pytest.mark.parametrize(
    ("right", "rows"),
    [(93, 100), (1700, 1797), (9, 10), (0, 50), (37, 37), (1, 1), (499_871, 500_000)],
)
def test_the_interval_of_an_accuracy_is_the_binomials(right: int, rows: int) -> None:
    expected = binom.ppf([0.025, 0.975], rows, right / rows) / rows
    assert interval(torch.arange(rows) < right) == pytest.approx(tuple(expected), abs=1e-12)


def test_every_resample_of_few_queries_is_counted() -> None:
    a, b = (
        torch.tensor([True, True, True, False, True]),
        torch.tensor([True, False, False, True, True]),
    )
    difference = (a.int() - b.int()).tolist()
    sums = Counter(sum(resample) for resample in product(difference, repeat=5))
    chance, quantiles = 0.0, []
    for total in sorted(sums):
        before, chance = chance, chance + sums[total] / 5**5
        quantiles += [total / 5 for level in (0.025, 0.975) if before < level <= chance]
    assert paired_gain(a, b) == (pytest.approx(0.2), *quantiles)


@pytest.mark.parametrize(("accuracy", "other"), [(0.9, 0.88), (0.93, 0.93), (0.6, 0.75)])
def test_a_gain_is_scipys_paired_bootstrap(accuracy: float, other: float) -> None:
    a, b = answers(800, accuracy, 1), answers(800, other, 2)
    found = paired_gain(a, b)
    reference = bootstrap(
        (a.double().numpy(), b.double().numpy()),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        batch=1000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found.gain == pytest.approx(float(a.double().mean() - b.double().mean()))
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1.5 / 800)
    turned = paired_gain(b, a)
    assert (turned.gain, turned.low, turned.high) == pytest.approx(
        (-found.gain, -found.high, -found.low)
    )


def test_pairs_tell_apart_what_two_intervals_cannot() -> None:
    worse = answers(2000, 0.8, 0)
    better = worse.clone()
    better[(~worse).nonzero().flatten()[:12]] = True
    assert interval(better)[0] < interval(worse)[1]
    assert paired_gain(better, worse).low > 0
    assert paired_gain(worse, worse) == (0, 0, 0)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    # Two models that are as good as each other: they differ on 1 query in 10, which either wins by
    # chance.
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        draw = generator.random(400)
        gain = paired_gain(torch.from_numpy(draw > 0.95), torch.from_numpy(draw < 0.05))
        held += gain.low <= 0 <= gain.high
    assert 0.93 < held / 1000 < 0.97


def test_scores_that_are_no_answers_are_resampled() -> None:
    """The same numbers as by drawing resamples one after the other, from the same seed."""
    scores = torch.from_numpy(np.random.default_rng(3).random(150))
    draw = np.random.default_rng(0)
    means = [float(scores[draw.integers(150, size=150)].mean()) for _ in range(2000)]
    expected = tuple(np.quantile(means, [0.025, 0.975]))
    assert interval(scores) == pytest.approx(expected, abs=1e-12)
    gain = paired_gain(scores, torch.zeros(150, dtype=torch.bool))
    assert gain == pytest.approx((float(scores.mean()), *expected), abs=1e-12)


@pytest.mark.parametrize("scores", [[0.25], [0.25, 0.25, 0.25]])
def test_scores_that_do_not_vary_have_an_interval_without_width(scores: list[float]) -> None:
    assert interval(torch.tensor(scores)) == (0.25, 0.25)


def test_scores_that_are_not_finite_have_no_interval() -> None:
    low, high = interval(torch.tensor([0.5, float("nan"), 1.0]))
    assert math.isnan(low)
    assert math.isnan(high)


def digits() -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:1200], queries=x[1200:], bank_labels=y[:1200], query_labels=y[1200:])


def test_knn_is_right_where_scikit_learn_is() -> None:
    features = digits()
    evaluator: Evaluator[KNNConfig] = build(KNNConfig())
    correct = counted(evaluator.evaluate(features))
    assert {
        name: float(hits.double().mean()) for name, hits in correct.items()
    } == evaluator.mean_scores(features)
    reference = KNeighborsClassifier(
        20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.1)
    )
    reference.fit(features.bank.double().numpy(), features.bank_labels)
    assert features.query_labels is not None
    expected = reference.predict(features.queries.double().numpy()) == features.query_labels.numpy()
    assert not expected.all()
    assert np.array_equal(correct["knn_top1"].numpy(), expected)


def test_the_linear_probe_is_right_where_scikit_learn_is() -> None:
    features = digits()
    evaluator: Evaluator[LinearConfig] = build(LinearConfig(l2=(1e-1,)))
    correct = counted(evaluator.evaluate(features))["linear_top1"]
    assert float(correct.double().mean()) == evaluator.mean_scores(features)["linear_top1"]
    spread, mean = torch.std_mean(features.bank, dim=0, correction=0)
    spread[spread == 0] = 1
    reference = LogisticRegression(C=1 / (1e-1 * 1200), max_iter=2000)
    reference.fit(((features.bank - mean) / spread).numpy(), features.bank_labels)
    assert features.query_labels is not None
    expected = (
        reference.predict(((features.queries - mean) / spread).numpy())
        == features.query_labels.numpy()
    )
    assert not expected.all()
    assert np.array_equal(correct.numpy(), expected)


def test_nothing_is_counted_without_labels_or_by_ranks() -> None:
    features = digits()
    unlabelled = Features(features.bank, features.queries)
    assert all(build(config).evaluate(unlabelled) == {} for config in (KNNConfig(), LinearConfig()))
    ranks = build(RankConfig())
    assert counted(ranks.evaluate(features)) == {}
    assert evaluate_all([ranks], features)
