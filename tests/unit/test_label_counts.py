"""What labels allow: said before anything is computed, passed over, and never a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits

from manta.evaluators import (
    EvaluatorConfig,
    Features,
    LabelCounts,
    build,
    evaluate_all,
    means,
    missing_input,
)
from manta.evaluators.clustering import ClusteringConfig
from manta.evaluators.fewshot import FewShotConfig
from manta.evaluators.knn import KNNConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.linear_sgd import LinearSGDConfig
from manta.evaluators.retrieval import RetrievalConfig
from manta.evaluators.risk import RiskConfig
from manta.evaluators.transferability import TransferabilityConfig

OF_FEATURES: tuple[EvaluatorConfig, ...] = (
    KNNConfig(k=(5, 1)),
    LinearConfig(iterations=20),
    LinearSGDConfig(epochs=5, lr=(0.1, 0.01)),
    FewShotConfig(episodes=20, queries=1, shots=(1,)),
    RetrievalConfig(),
    RiskConfig(l2=(0.1, 0.01)),
    TransferabilityConfig(),
    ClusteringConfig(least=5),
)


def name_of(config: EvaluatorConfig) -> str:
    return config.name


def counts(bank: list[int], queries: list[int]) -> LabelCounts:
    return LabelCounts.of(
        torch.tensor(bank, dtype=torch.int64),
        torch.tensor(queries, dtype=torch.int64),
        bank_rows=len(bank),
        query_rows=len(queries),
    )


IMPOSSIBLE = {
    "nothing": ([-1, -1], [-1], "labels"),
    "no bank": ([-1, -1], [0], "labels of what it learns from, and none of 2 rows has one"),
    "no queries": ([0, 1], [-1], "labels of what it is scored on, and none of 1 rows has one"),
    "not held out": ([0, 1], [], "rows that are held out, and there are none; raise evaluation."),
    "one class": ([4, 4, -1], [4], "two classes, and all 2 labelled rows that it learns from are"),
    "apart": ([0, 0, 1], [2, 3], "a class that is in both bank and queries, and there is none"),
    "ids": ([0, 1, 2], [3], "there is none; each label is of one row, as ids are"),
}


@pytest.mark.parametrize(("bank", "queries", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_done_is_said_and_passed_over(
    bank: list[int], queries: list[int], words: str
) -> None:
    features = Features(
        torch.randn(len(bank), 6),
        torch.randn(len(queries), 6),
        torch.tensor(bank, dtype=torch.int64),
        torch.tensor(queries, dtype=torch.int64),
    )
    for config in (KNNConfig(), LinearConfig(), RetrievalConfig(), RiskConfig(), FewShotConfig()):
        assert words in str(missing_input(build(config), features))
        assert evaluate_all([build(config)], features) == {}
    assert counts(bank, queries).missing() is not None


def test_logme_looks_at_the_bank_alone() -> None:
    rows, classes = load_digits(return_X_y=True)
    x, y = torch.tensor(rows[:300], dtype=torch.float32), torch.tensor(classes[:300])
    labelled = Features(x[:200], x[200:], y[:200], y[200:])
    evaluator = build(TransferabilityConfig())
    alone = replace(labelled, query_labels=None)
    assert evaluate_all([evaluator], alone) == evaluator.evaluate(labelled)


def test_few_shots_are_told_before_they_are_tried() -> None:
    few = build(FewShotConfig(shots=(3,), queries=2))
    assert few.missing_labels(counts([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])) is None
    told = few.missing_labels(counts([0, 0, 0, 1, 1], [0, 0, 1, 1]))
    assert told == "two classes with 3 rows to learn from and 2 that are scored; lower its " + (
        "shots or its queries"
    )


def test_a_bank_smaller_than_k_is_told() -> None:
    few = counts([0, 1, -1], [0])
    assert build(KNNConfig(k=(1, 5))).label_note(few) == (
        "k=5 is more than the 2 labelled rows, which all vote"
    )
    assert build(KNNConfig(k=2)).label_note(few) is None


TINY = {
    "two rows": ([0, 1], [0]),
    "a class of one row": ([0, 0, 0, 1], [1, 0, 1]),
    "more classes than rows of each": (list(range(12)), [3, 3, 99]),
    "queries of one class": ([0, 1] * 5, [1] * 4),
    "queries of a class that is not there": ([0, 1] * 5, [0, 7, 8]),
    "one labelled row each": ([0, -1, 1, -1], [-1, 1]),
}


@pytest.mark.parametrize(("bank", "queries"), TINY.values(), ids=TINY)
@pytest.mark.parametrize("config", OF_FEATURES, ids=name_of)
def test_few_rows_end_in_numbers_and_never_in_a_crash(
    config: EvaluatorConfig, bank: list[int], queries: list[int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = Features(
        torch.randn(len(bank), 6, generator=generator),
        torch.randn(len(queries), 6, generator=generator),
        torch.tensor(bank),
        torch.tensor(queries),
    )
    scores = means(evaluate_all([build(config)], features))
    evaluator = build(config)
    assert bool(scores) == (missing_input(evaluator, features) is None)
    for name, value in scores.items():
        if name.endswith("_top1"):
            assert 0 <= value <= 1


def test_labels_of_some_rows_are_told() -> None:
    assert counts([0, -1, 1], [0, -1]).labelled == "labels on 3 of 5 rows"
    assert counts([0, 1], [0]).labelled == ""
    assert counts([-1], [-1]).labelled == ""
    assert counts([0, 1, 1], [2, 2, 0, -1]).strange_queries == 2
