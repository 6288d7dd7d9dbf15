"""What evaluators declare of their metrics, and how a name finds its declaration."""

from __future__ import annotations

import pytest

from manta.evaluators import (
    EVALUATORS,
    UNTRAINED,
    EncoderEvaluator,
    Metric,
    declared_metrics,
    describe_evaluator,
    describe_metric,
)
from manta.report.parts import words
from synthetic_evaluation import GIVEN


@pytest.mark.parametrize("name", list(EVALUATORS))
def test_every_evaluator_explains_itself(name: str) -> None:
    kind = EVALUATORS[name]
    assert len(kind.title) > 3
    assert kind.about.endswith(".")
    assert kind.metrics
    for metric in kind.metrics.values():
        assert metric.title
        assert metric.note.endswith(".")
        assert metric.kind != "setting" or metric.better is None
        assert metric.worst is None or metric.better in ("higher", "lower")


@pytest.mark.parametrize("name", list(EVALUATORS))
def test_metrics_and_figures_name_each_other(name: str) -> None:
    kind = EVALUATORS[name]
    assert {metric.figure for metric in kind.metrics.values()} - {""} == set(kind.figures)
    for figure in kind.figures.values():
        assert figure.kind != "curves" or figure.axis
        assert not figure.level or (describe_metric(figure.level).declared and figure.level_note)
        assert not figure.total or figure.total in kind.metrics


@pytest.mark.parametrize(
    ("evaluator", "metric"), [(name, one) for name, own in GIVEN.items() for one in own]
)
def test_a_name_finds_the_evaluator_that_gives_it(evaluator: str, metric: str) -> None:
    described = describe_metric(UNTRAINED + metric)
    assert described.declared
    assert described.untrained
    assert (described.evaluator, described.name) == (evaluator, metric)
    texts = described.about.title + described.about.note + described.about.short
    assert "{" not in texts


@pytest.mark.parametrize(
    ("name", "title", "values"),
    [
        ("knn7_top5", "kNN top-5 accuracy, k = 7", {"k": "7"}),
        ("finetune_0.5pct_top1", "Fine-tuned on 0.5% of the labels", {"percent": "0.5"}),
        ("layers_blocks.5_top1", "blocks.5, accuracy", {"layer": "blocks.5"}),
        ("layers_best_top1", "Best layer's accuracy", {}),
        ("fewshot5_opta", "5-shot accuracy, optimal transport", {"k": "5"}),
        ("corruptions_severity3_top1", "Severity 3", {"severity": "3"}),
        ("corruptions_jpeg_compression_top1", "JPEG compression", {}),
    ],
)
def test_patterns_are_read(name: str, title: str, values: dict[str, str]) -> None:
    described = describe_metric(name)
    assert (described.about.title, described.values) == (title, values)


@pytest.mark.parametrize(
    ("name", "kind", "evaluator"),
    [
        ("my_top1", "fraction", ""),
        ("knn_mine_top1", "fraction", "knn"),
        ("linear_sgd_mine", "number", "linear_sgd"),
        ("knnx", "number", ""),
        ("retrieval_recallx", "number", "retrieval"),
    ],
)
def test_an_undeclared_metric_is_what_its_name_tells(name: str, kind: str, evaluator: str) -> None:
    described = describe_metric(name)
    assert not described.declared
    assert (described.about.kind, described.evaluator) == (kind, evaluator)
    assert described.about.title == name.replace("_", " ")
    assert describe_evaluator("no_such") == ("no such", "")


def test_patterns_format_to_the_names_that_they_read() -> None:
    for _, kind in EVALUATORS.items():
        for pattern in kind.metrics:
            values = {"k": 3, "percent": 2.5, "shots": 4, "layer": "layer1", "severity": 2, "h": 24}
            name = pattern.format(**values, group="ann")
            assert describe_metric(name).declared, pattern


def test_studies_may_optimise_what_has_a_worst_value() -> None:
    studied = {name for _, name, metric in declared_metrics() if metric.worst is not None}
    assert {"knn_top1", "linear_top1", "rankme", "alpha_req_gap", "lidar", "silhouette"} <= studied
    for evaluator, name, metric in declared_metrics():
        if metric.worst is not None:
            assert not issubclass(EVALUATORS[evaluator], EncoderEvaluator), name
        if metric.optimised_as:
            assert metric.optimised_as in studied


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (Metric("a", "b.", better="higher"), "Higher is better."),
        (Metric("a", "b.", better="near 1"), "Best near 1."),
        (Metric("a", "b."), "Neither way is better by itself."),
        (Metric("a"), ""),
        (Metric("a", "b.", kind="setting"), "A setting that was chosen, not a score."),
    ],
)
def test_directions_are_told(metric: Metric, sentence: str) -> None:
    assert metric.direction == sentence


def test_words_of_metrics() -> None:
    assert words.UNTRAINED == UNTRAINED
    assert words.title("random_rankme") == "Effective rank (RankMe), untrained"
    assert words.title("schedule/ema") == "ema"
    assert words.title("lr") == "Learning rate"
    assert words.number(0.5, "risk_total") == "0.500"
    assert words.number(0.5, "feature_std") == "0.5"
    assert words.change(6.0, 3.0, "images_per_second") == "× 2"
    assert words.change(0.25, 0.5, "alpha_req_gap") == "−0.25"
    assert words.change(0.1, 0.01, "linear_l2") == ""


@pytest.mark.parametrize(
    ("metrics", "first"),
    [
        (["rankme", "linear_top1", "knn_top1"], "knn_top1"),
        (["rankme", "layers_layer1_top1", "fungi_top1"], "fungi_top1"),
        (["feature_std", "alpha_req", "lidar"], "lidar"),
        (["linear_l2", "logme"], "logme"),
        (["linear_l2"], None),
    ],
)
def test_a_page_opens_with_an_accuracy_or_a_rank(metrics: list[str], first: str | None) -> None:
    assert words.most_telling(metrics) == first
