"""Evaluators on labels as data have them: none for some rows, ids, few classes, few rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from access_kit import access_of, small_encoder
from conformance.objective_kit import labels as digit_labels
from conformance.objective_kit import pictures
from manta.data import Holdout, Manifest, Shard
from manta.evaluators import (
    EVALUATORS,
    EncoderEvaluator,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    build,
    evaluate_all,
    means,
)
from manta.evaluators._labels import LabelledRows, LabelNumbers
from manta.evaluators.clustering import ClusteringConfig
from manta.evaluators.corruptions import CorruptionsConfig
from manta.evaluators.fewshot import FewShotConfig
from manta.evaluators.finetune import FinetuneConfig
from manta.evaluators.fungi import FungiConfig
from manta.evaluators.knn import KNNConfig
from manta.evaluators.layers import LayersConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.linear_sgd import LinearSGDConfig
from manta.evaluators.rank import RankConfig
from manta.evaluators.retrieval import RetrievalConfig
from manta.evaluators.risk import RiskConfig
from manta.evaluators.transferability import TransferabilityConfig

OF_FEATURES: tuple[EvaluatorConfig, ...] = (
    KNNConfig(k=(5, 1)),
    LinearConfig(iterations=20),
    LinearSGDConfig(epochs=5, lr=(0.1, 0.01)),
    FewShotConfig(episodes=20, queries=5),
    RetrievalConfig(),
    RiskConfig(l2=(0.1, 0.01)),
    TransferabilityConfig(),
    ClusteringConfig(least=5),
)
OF_ENCODERS: tuple[EvaluatorConfig, ...] = (
    CorruptionsConfig(corruptions=("gaussian_noise",), k=5),
    FinetuneConfig(fractions=(0.5,), shots=(2,), steps=2, batch_size=16),
    FungiConfig(losses=("kl", "simclr"), k=5),
)
CONFIGS = OF_FEATURES + OF_ENCODERS


def name_of(config: EvaluatorConfig) -> str:
    return config.name


def digits(*, bank: int = 300, queries: int = 200) -> Features:
    rows, classes = load_digits(return_X_y=True)
    x, y = torch.tensor(rows, dtype=torch.float32), torch.tensor(classes, dtype=torch.int64)
    end = bank + queries
    return Features(x[:bank], x[bank:end], y[:bank], y[bank:end])


def strewn(labelled: Features, *, every: int = 3) -> Features:
    """The same with rows of noise that have no label, after each `every` rows."""

    def mixed(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        count = len(rows) + len(rows) // every
        strange = torch.arange(count) % (every + 1) == every
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(int(strange.sum()), rows.shape[1], generator=generator) * 5
        features, classes = torch.empty(count, rows.shape[1]), torch.full((count,), -1)
        features[strange], features[~strange], classes[~strange] = noise, rows, labels
        return features, classes

    assert labelled.bank_labels is not None
    assert labelled.query_labels is not None
    bank, bank_labels = mixed(labelled.bank, labelled.bank_labels)
    queries, query_labels = mixed(labelled.queries, labelled.query_labels)
    return Features(bank, queries, bank_labels, query_labels)


def equal(one: Scores, other: Scores) -> bool:
    def same(a: float | Tensor, b: float | Tensor) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return a == b or (math.isnan(float(a)) and math.isnan(float(b)))

    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def test_every_evaluator_that_needs_labels_is_tried_here() -> None:
    needing = {name for name, kind in EVALUATORS.items() if kind.needs_labels or kind.takes_labels}
    # What needs groups too is tried in test_eval_groups.
    assert needing - {"leave_group_out"} == {config.name for config in CONFIGS}


@pytest.mark.parametrize("config", OF_FEATURES, ids=name_of)
def test_rows_without_a_label_take_no_part(config: EvaluatorConfig) -> None:
    labelled = digits()
    expected = evaluate_all([build(config)], labelled)
    assert expected
    assert equal(evaluate_all([build(config)], strewn(labelled)), expected)
    assert equal(expected, build(config).evaluate(labelled)), "all labelled: as it was"


@pytest.mark.parametrize("config", OF_FEATURES, ids=name_of)
@pytest.mark.parametrize("first", [1_000_000_007, 2_000_000, 70_000])
def test_ids_are_numbered_densely(config: EvaluatorConfig, first: int) -> None:
    labelled = digits(bank=200, queries=150)
    assert labelled.bank_labels is not None
    assert labelled.query_labels is not None
    ids = replace(
        labelled,
        bank_labels=labelled.bank_labels * 13 + first,
        query_labels=labelled.query_labels * 13 + first,
    )
    assert equal(evaluate_all([build(config)], ids), evaluate_all([build(config)], labelled))


@pytest.mark.parametrize("config", OF_ENCODERS, ids=name_of)
def test_evaluators_of_encoders_read_labelled_rows_only(config: EvaluatorConfig) -> None:
    encoder = small_encoder("resnet")
    images, truth = pictures()[:160], digit_labels()[:160]
    order = torch.arange(200) % 5 == 4
    strewn_images = torch.empty(200, *images.shape[1:], dtype=torch.uint8)
    strewn_labels = torch.full((200,), -1)
    strewn_images[order] = 255 - images[:40]
    strewn_images[~order], strewn_labels[~order] = images, truth * 1_000_000 + 77
    alone = access_of(encoder, bank=120, queries=40, shown=(images, truth))
    mixed = access_of(encoder, bank=150, queries=50, shown=(strewn_images, strewn_labels))
    evaluator = build(config)
    expected = means(evaluate_all([evaluator], alone[1], alone[0]))
    found = means(evaluate_all([evaluator], mixed[1], mixed[0]))
    assert expected
    # Batches are cut elsewhere, which moves sums by a rounding and at most a query or two.
    assert found == pytest.approx(expected, abs=0.051)


def test_layers_probe_labelled_rows_and_compare_all() -> None:
    encoder = small_encoder("resnet")
    images, truth = pictures()[:300], digit_labels()[:300].clone()
    config = LayersConfig(layers=("layer1", "layer4"), rows=200, query_rows=100)
    whole = access_of(encoder, bank=200, queries=100, shown=(images, truth))
    some = truth.where(torch.arange(300) % 2 == 0, torch.tensor(-1))
    half = access_of(encoder, bank=200, queries=100, shown=(images, some))
    kept = torch.arange(0, 300, 2)
    alone = access_of(encoder, bank=100, queries=50, shown=(images[kept], truth[kept]))
    of_all, of_half, of_alone = (
        means(evaluate_all([build(config)], features, access))
        for access, features in (whole, half, alone)
    )
    assert of_half["layers_layer1_cca"] == of_all["layers_layer1_cca"]
    for name in ("layers_layer1_top1", "layers_layer4_top1", "layers_best_top1"):
        assert of_half[name] == pytest.approx(of_alone[name], abs=0.021)
    nothing = access_of(encoder, bank=200, queries=100, shown=(images, torch.full((300,), -1)))
    assert set(evaluate_all([build(config)], nothing[1], nothing[0])) == {"layers_layer1_cca"}


def test_numbers_without_labels_count_every_row() -> None:
    labelled = digits()
    mixed = strewn(labelled)
    rank = build(RankConfig())
    assert evaluate_all([rank], mixed) == rank.evaluate(mixed)
    assert evaluate_all([rank], mixed) != evaluate_all([rank], labelled)


def test_clusters_without_one_label_are_told_by_their_silhouette() -> None:
    mixed = digits(bank=1, queries=150)
    none = replace(mixed, query_labels=torch.full((150,), -1))
    config = ClusteringConfig(clusters=5, algorithms=("kmeans",))
    assert set(evaluate_all([build(config)], none)) == {"clustering_kmeans_silhouette"}
    one = replace(mixed, query_labels=torch.full((150,), 3))
    assert set(evaluate_all([build(config)], one)) == {"clustering_kmeans_silhouette"}


class Reads:
    """Images that hold the number of their row, in batches."""

    def __init__(self, labels: Tensor, batch: int) -> None:
        self.labels, self.batch = labels, batch

    def __call__(
        self, split: str, limit: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        assert limit is None, "which rows have labels is not known below"
        for rows in torch.arange(len(self.labels)).split(self.batch):
            yield rows[:, None], self.labels[rows]


@pytest.mark.parametrize("limit", [None, 1, 7, 20, 500])
@pytest.mark.parametrize("batch", [4, 33, 1000])
def test_a_limit_draws_from_all_labelled_rows(limit: int | None, batch: int) -> None:
    labels = torch.where(torch.arange(300) % 4 == 0, torch.arange(300) % 7, -1)
    labelled = (labels >= 0).nonzero().flatten()
    rows = LabelledRows(Reads(labels, batch), LabelNumbers(None), {"bank": 75, "queries": 0})
    parts = list(rows("bank", limit))
    images, classes = (torch.cat(part) for part in zip(*parts, strict=True))
    # The rows that data without the others would give.
    manifest = Manifest(
        location="",
        rows=len(labelled),
        labelled=True,
        classes=None,
        shards=[Shard("", 75, [75], 0)],
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
        kind="",
        quarantined=0,
        digest="",
        bytes=0,
    )
    expected = labelled[torch.from_numpy(Holdout(manifest).sample("bank", limit))]
    assert images.flatten().tolist() == expected.tolist()
    assert torch.equal(classes, labels[expected])


class Sees(Evaluator[EvaluatorConfig]):
    """What an evaluator of a user's own is given."""

    def evaluate(self, features: Features) -> Scores:
        assert features.query_labels is not None
        return {"least": float(features.query_labels.min()), "rows": float(len(features.queries))}


class SeesLabelled(Sees):
    needs_labels = True


def test_evaluators_of_ones_own_get_what_they_ask_for() -> None:
    mixed = strewn(digits(bank=30, queries=30))
    config: Any = EvaluatorConfig(name="sees")
    assert evaluate_all([Sees(config)], mixed) == {"least": -1, "rows": 40}
    assert evaluate_all([SeesLabelled(config)], mixed) == {"least": 0, "rows": 30}
    assert not issubclass(Sees, EncoderEvaluator)


def test_numbers_of_classes_stay_where_some_have_no_row() -> None:
    sparse = LabelNumbers.of(torch.tensor([0, 900]), torch.tensor([900]), 1_000)
    assert sparse.ids is None
    ids = LabelNumbers.of(torch.tensor([5, 1000]), torch.tensor([70, -1]), 1_000)
    assert ids(torch.tensor([70, 5, 1000])).tolist() == [1, 0, 2]
    none = LabelNumbers.of(torch.tensor([-1]), torch.empty(0, dtype=torch.int64), 10)
    assert none.ids is None
