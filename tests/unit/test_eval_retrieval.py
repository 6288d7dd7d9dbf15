"""Retrieval against scikit-learn, and several k of the nearest neighbours in one pass against one
at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from torch import Tensor

from manta.config import from_mapping
from manta.errors import ConfigError
from manta.evaluators import Features, build
from manta.evaluators import knn as knn_module
from manta.evaluators.knn import KNNConfig
from manta.evaluators.retrieval import RetrievalConfig, average_precision


def digits(rows: int = 1200) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


def labels_of(features: Features) -> tuple[Tensor, Tensor]:
    assert features.bank_labels is not None
    assert features.query_labels is not None
    return features.bank_labels, features.query_labels


@pytest.mark.parametrize("similarities", [1, 5000, 2**23])
def test_retrieval_equals_scikit_learns_average_precision(similarities: int) -> None:
    features = digits(700)
    features = Features(
        features.bank, features.queries[:150], features.bank_labels, labels_of(features)[1][:150]
    )
    labels, truth = labels_of(features)
    bank = features.bank.double() / features.bank.double().norm(dim=1, keepdim=True)
    precisions, ranks = [], []
    for query, answer in zip(features.queries.double(), truth, strict=True):
        similarity, relevant = bank @ query, labels == answer
        precisions.append(average_precision_score(relevant.numpy(), similarity.numpy()))
        ranks.append(int(relevant[similarity.argsort(descending=True)].nonzero()[0]) + 1)
    numbers = build(RetrievalConfig(k=(1, 2, 10), similarities=similarities)).mean_scores(features)
    assert numbers == {
        "retrieval_recall1": np.mean([rank <= 1 for rank in ranks]),
        "retrieval_recall2": np.mean([rank <= 2 for rank in ranks]),
        "retrieval_recall10": np.mean([rank <= 10 for rank in ranks]),
        "retrieval_map": pytest.approx(np.mean(precisions), abs=1e-6),
    }
    assert 0.9 < numbers["retrieval_recall1"] < numbers["retrieval_recall2"] < 1
    assert 0.5 < numbers["retrieval_map"] < 0.8


def test_average_precision_by_hand() -> None:
    relevant = torch.tensor([[True, False, True], [False, True, False], [True, True, False]])
    expected = torch.tensor([(1 + 2 / 3) / 2, 1 / 2, 1.0], dtype=torch.float64)
    torch.testing.assert_close(average_precision(relevant), expected)


def test_queries_of_unknown_classes_are_left_out() -> None:
    features = Features(
        torch.eye(4), torch.eye(4), torch.tensor([0, 1, 2, 2]), torch.tensor([0, 2, 9, 9])
    )
    # The first finds itself. The second has one of class 1 before the two of class 2, in any order.
    numbers = build(RetrievalConfig(k=(1,))).mean_scores(features)
    assert numbers["retrieval_recall1"] == 0.5
    nothing = Features(torch.eye(4), torch.eye(4), torch.arange(4), torch.arange(4) + 4)
    assert all(map(math.isnan, build(RetrievalConfig()).mean_scores(nothing).values()))
    broken = Features(torch.eye(4) / 0, torch.eye(4), torch.arange(4), torch.arange(4))
    assert all(map(math.isnan, build(RetrievalConfig()).mean_scores(broken).values()))


def test_several_k_are_those_of_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    features = digits()
    expected = {k: build(KNNConfig(k=k)).mean_scores(features) for k in (5, 1, 200)}
    asked: list[int] = []

    def counted(queries: Tensor, bank: Tensor, *, k: int, chunk: int) -> tuple[Tensor, Tensor]:
        asked.append(k)
        return nearest(queries, bank, k=k, chunk=chunk)

    nearest = knn_module.nearest
    monkeypatch.setattr(knn_module, "nearest", counted)
    numbers = build(KNNConfig(k=(5, 1, 200, 5))).mean_scores(features)
    assert asked == [200]  # one pass over all queries, for the largest
    assert numbers == {
        "knn_top1": expected[5]["knn_top1"],
        "knn_top5": expected[5]["knn_top5"],
        "knn1_top1": expected[1]["knn_top1"],
        "knn1_top5": expected[1]["knn_top5"],
        "knn200_top1": expected[200]["knn_top1"],
        "knn200_top5": expected[200]["knn_top5"],
    }
    assert len({numbers["knn_top1"], numbers["knn1_top1"], numbers["knn200_top1"]}) == 3


def test_several_k_come_from_recipes() -> None:
    tree = {"data": {"source": "digits"}, "objective": {"name": "simclr"}}
    experiment = from_mapping(
        tree | {"evaluation": {"evaluators": [{"name": "knn", "k": [20, 200]}]}}
    )
    assert experiment.evaluation.evaluators == [KNNConfig(k=(20, 200))]
    again = from_mapping(experiment.model_dump(mode="json"))
    assert again == experiment
    assert KNNConfig().k == 20
    for wrong in (0, [], [5, 0]):
        with pytest.raises(ConfigError, match=r"k"):
            from_mapping(tree | {"evaluation": {"evaluators": [{"name": "knn", "k": wrong}]}})
