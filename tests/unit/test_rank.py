from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manta.evaluators import Features, build
from manta.evaluators.rank import RankConfig
from manta.functional.spectrum import feature_std, rankme


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_equal_singular_values_count_themselves(rank: int) -> None:
    left, _ = torch.linalg.qr(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)))
    features = left[:, :rank] @ torch.eye(rank, 8) * 5
    assert rankme(features) == pytest.approx(rank, rel=1e-4)


def test_entropy_of_known_singular_values() -> None:
    # p = (1/2, 1/4, 1/4): the entropy is 1.5 log 2, and the rank 2^1.5.
    features = torch.zeros(10, 3)
    features[0, 0], features[1, 1], features[2, 2] = 2.0, -1.0, 1.0
    assert rankme(features) == pytest.approx(2**1.5, rel=1e-5)


def test_rankme_equals_the_formula_in_numpy() -> None:
    features = np.random.default_rng(0).normal(size=(200, 20)) @ np.diag(0.7 ** np.arange(20))
    singular = np.linalg.svd(features, compute_uv=False)
    entropy = 0.0
    for value in singular:
        p = value / singular.sum() + 1e-7
        entropy -= p * math.log(p)
    assert rankme(torch.tensor(features)) == pytest.approx(math.exp(entropy), rel=1e-9)
    assert rankme(torch.tensor(features) * 1000) == pytest.approx(math.exp(entropy), rel=1e-9)


def test_zero_features_have_a_finite_rank() -> None:
    assert rankme(torch.zeros(4, 3)) == pytest.approx(1.0, abs=1e-4)
    assert feature_std(torch.zeros(4, 3)) == 0.0


def test_features_that_are_not_finite_have_no_rank() -> None:
    features = torch.randn(10, 4)
    features[3, 2] = math.inf
    numbers = build(RankConfig()).mean_scores(Features(features, features))
    assert math.isnan(numbers["rankme"])
    assert math.isnan(numbers["feature_std"])


def test_spread_of_the_sphere_is_one_and_of_a_point_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    sphere = torch.randn(20_000, 64, generator=generator)
    assert feature_std(sphere) == pytest.approx(1.0, abs=0.01)
    assert feature_std(sphere[:1].repeat(10, 1) * torch.arange(1, 11)[:, None]) == pytest.approx(
        0.0, abs=1e-6
    )
    # Two opposite points along one of four axes: a standard deviation of 1 there and 0 elsewhere,
    # times sqrt(4) / 4.
    assert feature_std(torch.tensor([[3.0, 0, 0, 0], [-1.0, 0, 0, 0]])) == pytest.approx(0.5)


def test_evaluator_takes_the_first_rows_of_the_queries() -> None:
    queries = torch.cat([torch.eye(4), 100 * torch.randn(50, 4)])
    features = Features(torch.randn(10, 4), queries)
    numbers = build(RankConfig(rows=4)).mean_scores(features)
    assert numbers == {
        "rankme": pytest.approx(4, rel=1e-4),
        "feature_std": pytest.approx(math.sqrt(3) / 2),
    }
