"""What evaluation, comparison and promotion are made of: evaluators, numbers, refusals."""

from __future__ import annotations

import pytest
import torch

from manta.data import ingest, open_dataset
from manta.errors import ConfigError
from manta.evaluation.compare import compare_models
from manta.evaluation.evaluate import _note, _numbers, _slug
from manta.evaluation.promote import _answers, _evaluator
from manta.evaluation.session import (
    EvaluationResult,
    Observer,
    _say_parts,
    evaluators_named,
)
from manta.evaluators import EVALUATORS, Features
from manta.evaluators.knn import KNNConfig
from odd.case import tree


def test_evaluators_have_the_settings_of_the_run_or_their_defaults() -> None:
    own = [KNNConfig(k=7)]
    knn, rank = evaluators_named(["knn", "rank"], own)
    assert (knn.config.k, rank.config.name) == (7, "rank")
    everything = {one.config.name for one in evaluators_named(["all"], own)}
    # These have settings without defaults, and no recipe here that gives them.
    assert everything == set(EVALUATORS) - {"forecast", "segmentation", "similarity"}
    with pytest.raises(ConfigError, match="'segmentation' needs images, masks; name it in a rec"):
        evaluators_named(["segmentation"])
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        evaluators_named(["linea"])


def result(accuracy: list[bool], rank: float, bank: int = 5) -> EvaluationResult:
    features = Features(torch.zeros(bank, 2), torch.zeros(len(accuracy), 2))
    scores = {"knn": {"knn_top1": torch.tensor(accuracy)}, "rank": {"rankme": rank}}
    return EvaluationResult(features, scores, {"linear": "needs labels"})


def test_numbers_of_both_encoders_stand_side_by_side() -> None:
    trained, untrained = result([True, True, False, True], 3.5), result([False] * 4, 1.5)
    numbers = _numbers({"": trained, "random": untrained})
    assert numbers["metrics"] == {
        "knn_top1": 0.75,
        "rankme": 3.5,
        "random_knn_top1": 0.0,
        "random_rankme": 1.5,
    }
    # Only what counts queries has an interval.
    assert list(numbers["intervals"]) == ["knn_top1", "random_knn_top1"]
    low, high = numbers["intervals"]["knn_top1"]
    assert (low, high) == (0.25, 1.0)


def test_a_note_says_what_probes_learn_from() -> None:
    one = result([True] * 1200, 1.0, bank=3400)
    assert _note("d", None, one) == (
        "probes learn from 3,400 rows of d and are scored on the other 1,200"
    )
    assert _note("d", "b", one) == (
        "probes learn from 3,400 rows of b and are scored on 1,200 rows of d"
    )


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("models:/photos@champion", "models-photos@champion"),
        ("./data/test.manta", "data-test.manta"),
        ("///", "data"),
        ("x" * 80, "x" * 60),
    ],
)
def test_names_become_names_of_files(name: str, slug: str) -> None:
    assert _slug(name) == slug


@pytest.mark.parametrize("metric", ["rankme", "loss", "linear_l2", "risk_total"])
def test_a_promotion_wants_an_accuracy(metric: str) -> None:
    with pytest.raises(ConfigError, match=f"'{metric}' is not counted by queries"):
        _evaluator(metric)


def test_a_promotion_takes_the_evaluators_answers() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    features = Features(torch.eye(4)[:, :2], torch.eye(4)[:, :2], labels, labels)
    evaluator = _evaluator("knn_top1")
    assert evaluator.config == KNNConfig()
    assert _answers(evaluator, features, "knn_top1", "m").shape == (4,)
    with pytest.raises(ConfigError, match="m has no 'knn_top5' on these data; knn gives knn_top1"):
        _answers(evaluator, features, "knn_top5", "m")


@pytest.mark.parametrize("models", [["a"], ["a", "a"], ["a", "b", "a"]])
def test_a_comparison_wants_different_models(models: list[str]) -> None:
    with pytest.raises(ConfigError, match="name two models or more to compare, each once"):
        compare_models(models, "digits")


def test_it_is_said_which_part_of_data_in_parts_is_evaluated_on(dataset_of_parts):
    said = []
    _say_parts(dataset_of_parts, Observer(notify=said.append))
    assert [line.partition(": ")[2] for line in said] == [
        "read train, left out test; give that part as the data, and the other as the bank, to "
        "score on it"
    ]


@pytest.fixture
def dataset_of_parts(tmp_path):
    """A folder with train/ and test/, ingested."""
    tree(
        tmp_path / "photos", *(f"{part}/{kind}.png" for part in ("train", "test") for kind in "ab")
    )
    return open_dataset(ingest(tmp_path / "photos", tmp_path / "out", executor="local").location)
