"""What a study may optimise: names, refusals, the evaluators it needs, and the rank correlation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from manta.config import Experiment, from_mapping
from manta.errors import ConfigError
from manta.evaluators import EVALUATORS, LabelCounts
from manta.evaluators.knn import KNNConfig
from manta.tuning.study.metrics import (
    check_labels,
    kendall,
    metric,
    metrics_for,
    study_metrics,
    with_evaluators,
)


def experiment() -> Experiment:
    entries = [
        {"name": "knn", "k": 200, "every": 1},
        {"name": "linear"},
        {"name": "rank", "rows": 512},
    ]
    return from_mapping(
        {
            "data": {"source": "digits"},
            "objective": {"name": "dcl", "temperature": 0.3},
            "evaluation": {"evaluators": entries, "holdout": 0.2},
        }
    )


def test_every_metric_names_an_evaluator_that_agrees_on_labels() -> None:
    for one in study_metrics().values():
        assert math.isfinite(one.worst)
        if one.evaluator is not None:
            assert EVALUATORS[one.evaluator].needs_labels == one.needs_labels
    assert {one.name for one in study_metrics().values() if one.mode == "min"} == {
        "alpha_req_gap",
        "risk_total",
    }
    assert metric("alpha_req") == metric("alpha_req_gap")
    assert metric("alpha_req").worst == 10


def test_a_metric_without_a_worst_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"knn_top5 cannot be .* 'knn' declares no worst value"):
        metric("knn_top5")
    with pytest.raises(ConfigError, match=r"fewshot5_proto cannot be .* 'fewshot' declares"):
        metric("fewshot5_proto")


@pytest.mark.parametrize("name", ["loss", "train_loss", "val_loss", "loss/invariance"])
def test_a_loss_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^{name} cannot.* another scale.*worse encoder.*knn_top1.*rankme"
    ) as refused:
        metric(name)
    assert "\n" not in str(refused.value)


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'knn_top1'"):
        metric("knn_top_1")
    with pytest.raises(
        ConfigError,
        match="known: alpha_req_gap, knn_top1, leave_group_out_top1, lidar, linear_top1",
    ):
        metric("xyz")


def test_labels_are_asked_for_only_where_there_are_some() -> None:
    chosen = metrics_for(["knn_top1", "images_per_second"], labelled=True)
    assert [one.name for one in chosen] == ["knn_top1", "images_per_second"]
    with pytest.raises(
        ConfigError,
        match=r"knn_top1 needs labels.*use alpha_req_gap, lidar, nesum, rankme, silhouette$",
    ):
        metrics_for(["rankme", "knn_top1"], labelled=False)
    assert metrics_for(["rankme", "lidar"], labelled=False) == [metric("rankme"), metric("lidar")]
    with pytest.raises(ConfigError, match="alpha_req_gap is named twice"):
        metrics_for(["alpha_req", "alpha_req_gap"], labelled=True)
    with pytest.raises(ConfigError, match="needs a metric"):
        metrics_for([], labelled=True)


def test_evaluators_are_those_needed_with_the_recipes_own_settings() -> None:
    before = experiment()
    metrics = metrics_for(["images_per_second", "alpha_req", "knn_top1", "rankme"], labelled=True)
    after = with_evaluators(before, metrics, every=0.5)
    entries = after.evaluation.evaluators
    assert [entry.name for entry in entries] == ["alpha_req", "knn", "rank"]
    assert [entry.every for entry in entries] == [0.5] * 3
    assert entries[1] == KNNConfig(k=200, every=0.5)
    assert entries[2].model_dump()["rows"] == 512
    assert after.evaluation.select == "knn_top1"
    assert after.fingerprint() == before.fingerprint()
    assert after.model_copy(update={"evaluation": before.evaluation}) == before
    assert [
        entry.every for entry in with_evaluators(before, metrics, every=None).evaluation.evaluators
    ] == [None] * 3


def test_checkpoints_are_never_selected_by_what_should_be_small() -> None:
    before = experiment()
    assert (
        with_evaluators(
            before, metrics_for(["alpha_req", "lidar"], True), every=1
        ).evaluation.select
        == "lidar"
    )
    assert (
        with_evaluators(before, metrics_for(["alpha_req"], True), every=1).evaluation.select
        == "knn_top1"
    )


def tau_by_pairs(x: list[float], y: list[float]) -> float:
    """tau-b: concordant less discordant pairs, over the pairs without a tie in x and those without
    one in y."""
    pairs = list(combinations(range(len(x)), 2))
    agreement = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
    return float(
        agreement
        / math.sqrt(sum(x[i] != x[j] for i, j in pairs) * sum(y[i] != y[j] for i, j in pairs))
    )


def test_kendall_is_one_where_a_metric_ranks_as_the_reference_does() -> None:
    trials = [
        {
            "knn_top1": 0.1 * i,
            "rankme": 10.0 + i**2,
            "alpha_req_gap": 1.0 / (1 + i),
            "lidar": -float(i),
            "loss": 3.0,
        }
        for i in range(6)
    ]
    assert kendall(trials, "knn_top1") == pytest.approx(
        {"rankme": 1.0, "alpha_req_gap": 1.0, "lidar": -1.0}
    )
    # Seen from the metric of which less is better, the others agree with it likewise.
    assert kendall(trials, "alpha_req") == pytest.approx({"rankme": 1.0, "lidar": -1.0})


def test_kendall_equals_a_count_of_pairs_with_ties() -> None:
    random = np.random.default_rng(0)
    x, y = (
        random.integers(0, 8, 15).astype(float).tolist(),
        random.normal(size=15).round(1).tolist(),
    )
    trials = [
        {"linear_top1": a, "rankme": b, "alpha_req_gap": b} for a, b in zip(x, y, strict=True)
    ]
    expected = tau_by_pairs(x, y)
    assert kendall(trials, "linear_top1") == {
        "rankme": pytest.approx(expected, abs=1e-12),
        "alpha_req_gap": pytest.approx(-expected, abs=1e-12),
    }


def test_kendall_leaves_out_what_cannot_be_ranked() -> None:
    trials = [{"knn_top1": 0.1 * i, "rankme": 5.0, "lidar": float(i)} for i in range(3)]
    trials[0]["lidar"] = math.nan
    trials += [{"knn_top1": 0.9}, {"silhouette": 0.3}]
    assert kendall(trials, "knn_top1") == {}
    assert kendall([], "knn_top1") == {}


def test_a_study_is_refused_where_its_metric_cannot_be_had() -> None:
    recipe = from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}})
    metrics = metrics_for(["knn_top1", "rankme"], labelled=True)
    one_class = LabelCounts({0: 50}, {0: 5}, bank_rows=60, query_rows=5)
    with pytest.raises(
        ConfigError, match=r"study.metric knn_top1 needs two classes, and all 50 .*use alpha_req"
    ):
        check_labels(metrics, recipe, one_class)
    check_labels(metrics[1:], recipe, one_class)
    check_labels(metrics, recipe, LabelCounts({0: 5, 1: 5}, {1: 1}, bank_rows=10, query_rows=1))
    check_labels(metrics, recipe, None)
