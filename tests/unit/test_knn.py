from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from manta.config import from_mapping
from manta.evaluators import Features, build, evaluate_all
from manta.evaluators.knn import KNNConfig, nearest, vote


def digits(rows: int = 1200) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (20, 0.1), (200, 0.07), (500, 0.02)])
def test_top1_equals_scikit_learn_with_the_same_weights(k: int, temperature: float) -> None:
    features = digits()
    reference = KNeighborsClassifier(
        n_neighbors=k,
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(features.bank.double().numpy(), features.bank_labels)
    expected = reference.score(features.queries.double().numpy(), features.query_labels)
    numbers = build(KNNConfig(k=k, temperature=temperature, chunk=97)).mean_scores(features)
    assert numbers["knn_top1"] == pytest.approx(expected, abs=1.5 / len(features.queries))
    assert expected > 0.8


def test_top5_counts_only_classes_that_got_a_vote() -> None:
    # Six classes along the axes; the one neighbour has class 5, so no query of class 0..4 is among
    # its votes.
    features = Features(
        torch.eye(6), torch.eye(6)[5:].repeat(6, 1), torch.arange(6), torch.arange(6)
    )
    numbers = build(KNNConfig(k=1)).mean_scores(features)
    assert numbers == {"knn_top1": pytest.approx(1 / 6), "knn_top5": pytest.approx(1 / 6)}


def test_top5_is_given_from_six_classes_on() -> None:
    features = digits()
    loop_hits = 0
    bank = torch.nn.functional.normalize(features.bank.double(), dim=1)
    assert features.bank_labels is not None
    assert features.query_labels is not None
    for query, answer in zip(
        features.queries[:200].double(), features.query_labels[:200], strict=True
    ):
        similarity = bank @ query / query.norm()
        votes: dict[int, float] = {}
        for row in similarity.argsort(descending=True)[:50].tolist():
            label = int(features.bank_labels[row])
            votes[label] = votes.get(label, 0.0) + math.exp(float(similarity[row]) / 0.1)
        loop_hits += int(answer) in sorted(votes, key=lambda label: -votes[label])[:5]
    few = Features(
        features.bank, features.queries[:200], features.bank_labels, features.query_labels[:200]
    )
    numbers = build(KNNConfig(k=50)).mean_scores(few)
    assert numbers["knn_top5"] == loop_hits / 200
    two = Features(
        features.bank, features.queries, features.bank_labels % 5, features.query_labels % 5
    )
    assert set(build(KNNConfig()).mean_scores(two)) == {"knn_top1"}


def test_running_top_k_equals_the_whole_matrix() -> None:
    torch.manual_seed(0)
    queries, bank = torch.randn(7, 5), torch.randn(101, 5)
    expected, expected_rows = (queries @ bank.T).topk(30, dim=1)
    for chunk in (1, 13, 101, 500):
        similarity, rows = nearest(queries, bank, k=30, chunk=chunk)
        torch.testing.assert_close(similarity, expected)
        assert torch.equal(rows, expected_rows)


def test_a_small_temperature_does_not_overflow() -> None:
    votes = vote(
        torch.tensor([[1.0, 0.9, 0.8]]), torch.tensor([[2, 0, 0]]), classes=3, temperature=0.001
    )
    assert votes.tolist() == [[pytest.approx(0.0, abs=1e-30), 0.0, 1.0]]


def test_k_beyond_the_bank_is_clipped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    features = Features(torch.eye(3), torch.eye(3), torch.arange(3), torch.arange(3))
    with caplog.at_level(logging.WARNING):
        assert build(KNNConfig(k=20)).mean_scores(features) == {"knn_top1": 1.0}
    assert "k=20" in caplog.text
    assert "3 rows" in caplog.text


def test_memory_is_bounded_by_chunks() -> None:
    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, Tensor):
                    largest = max(
                        largest, tensor.untyped_storage().nbytes() // tensor.element_size()
                    )
            return out

    torch.manual_seed(0)
    rows, chunk, k, width = 3000, 50, 10, 4
    features = Features(
        torch.randn(rows, width),
        torch.randn(rows, width),
        torch.arange(rows) % 3,
        torch.arange(rows) % 3,
    )
    with Largest():
        build(KNNConfig(k=k, chunk=chunk)).mean_scores(features)
    assert largest <= rows * width  # the features themselves; all similarities would be 9,000,000


def test_evaluators_without_labels_are_passed_over_and_settings_come_from_the_config() -> None:
    experiment = from_mapping(
        {
            "data": {"source": "digits"},
            "objective": {"name": "simclr"},
            "evaluation": {
                "evaluators": [
                    {"name": "knn", "k": 7, "every": 0.5},
                    {"name": "rank"},
                    {"name": "linear"},
                ]
            },
        }
    )
    evaluators = [build(config) for config in experiment.evaluation.evaluators]
    assert evaluators[0].config == KNNConfig(k=7, every=0.5)
    unlabelled = Features(torch.randn(50, 4), torch.randn(50, 4))
    assert set(evaluate_all(evaluators, unlabelled)) == {"rankme", "feature_std"}
