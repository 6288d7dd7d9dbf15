"""Settings of a study: what they mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from manta.config import Experiment, from_mapping
from manta.errors import ConfigError
from manta.report.study.record import StudyRecord, TrialRecord
from manta.tuning.space.read import Space
from manta.tuning.study.creation import merged, whole_of
from manta.tuning.study.metrics import metric
from manta.tuning.study.rung_result import REPEATED, RESOURCE
from manta.tuning.study.settings import settings_from
from manta.tuning.study.study import changes_from
from manta.tuning.trials.schedulers import make_scheduler


def recipe(epochs: float = 25) -> Experiment:
    return from_mapping(
        {"data": {"source": "digits"}, "objective": {"name": "dcl"}, "train": {"epochs": epochs}}
    )


def test_one_metric_is_searched_by_tpe_and_several_by_nsga2() -> None:
    assert settings_from({}).sampling == "tpe"
    assert settings_from({"metric": ["knn_top1", "images_per_second"]}).sampling == "nsga2"
    assert settings_from({"scheduler": "pbt"}).sampling == "random"
    assert settings_from({"metric": "rankme", "sampler": "gp"}).sampling == "gp"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"trails": 3}, "study.trails: no such key; did you mean 'trials'"),
        ({"trials": 0}, "study.trials: .*greater than or equal to 1"),
        ({"sampler": "best"}, "study.sampler: "),
        ({"scheduler": {"name": "asha", "reduction": 1}}, "study.scheduler.reduction: "),
        ({"metric": ["knn_top1", "rankme"], "sampler": "cmaes"}, "cmaes takes one metric"),
        ({"metric": ["knn_top1", "rankme"], "scheduler": "pbt"}, "pbt takes one metric"),
    ],
)
def test_a_setting_that_is_wrong_is_one_line(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        settings_from(section)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "epochs", "whole"),
    [
        ({}, 25, 9),
        ({}, 4, 4),
        ({"max": 30}, 25, 30),
        ({"unit": "steps", "min": 10, "max": 40}, 25, 40),
    ],
)
def test_a_whole_trial(scheduler: dict[str, Any], epochs: float, whole: int) -> None:
    assert whole_of(settings_from({"scheduler": scheduler}), recipe(epochs)) == whole


@pytest.mark.parametrize(
    ("scheduler", "epochs", "message"),
    [
        ({"min": 2}, 25, "no multiple of study.scheduler.min 2.*set study.scheduler.max to 8"),
        ({"min": 5, "max": 3}, 25, "no multiple"),
        ({"unit": "steps"}, 25, "study.scheduler.max must say how many steps"),
        ({}, 0.5, "study.scheduler.max must say how many epochs"),
    ],
)
def test_a_whole_trial_must_end_with_an_evaluation(
    scheduler: dict[str, Any], epochs: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        whole_of(settings_from({"scheduler": scheduler}), recipe(epochs))


def test_words_for_the_study_are_told_from_words_for_the_recipe() -> None:
    changes, others = changes_from(
        ["study.metric=[rankme, lidar]", "train.epochs=3", "study.scheduler.max=4"]
    )
    assert changes == {"metric": ["rankme", "lidar"], "scheduler": {"max": 4}}
    assert others == ["train.epochs=3"]
    assert merged({"scheduler": "median", "trials": 5}, changes) == {
        "scheduler": {"name": "median", "max": 4},
        "trials": 5,
        "metric": ["rankme", "lidar"],
    }


def test_words_for_the_study_are_read_as_those_for_the_recipe() -> None:
    words = [
        "study.trials=010",
        "study.storage=sqlite:///a [b] # c.db",
        "study.scheduler.name=median",
        "study.resources.concurrent=null",
        "study.seed=1e0",
    ]
    changes, _ = changes_from(words)
    settings = settings_from(merged({"scheduler": "asha", "resources": {"cpus": 2}}, changes))
    assert (settings.trials, settings.seed) == (10, 1)
    assert settings.storage == "sqlite:///a [b] # c.db"
    assert (settings.scheduler.name, settings.scheduler.min) == ("median", 1)
    assert (settings.resources.cpus, settings.resources.concurrent) == (2, None)
    for word in ("study.storage=2024", "study.storage=${train.epochs}", "study.storage=@x"):
        changes, _ = changes_from([word])
        assert merged({}, changes) == {"storage": word.partition("=")[2]}
    with pytest.raises(ConfigError, match=r"override 'study.trials=\[1' .* is not YAML"):
        merged({}, changes_from(["study.trials=[1"])[0])


def test_asha_compares_with_trials_of_earlier_attempts() -> None:
    """Three good trials are known: one that is worse at the first rung is stopped, one that is
    better goes on."""

    class Trial:
        def __init__(self, name: str) -> None:
            self.trial_id = name

    past = [
        TrialRecord(n, {}, "complete", value=0.9, rungs={1.0: 0.6 + n / 100, 9.0: 0.9})
        for n in range(3)
    ]
    config = settings_from({}).scheduler
    for value, decision in ((0.5, "STOP"), (0.7, "CONTINUE")):
        scheduler = make_scheduler(config, metric("knn_top1"), 9, space=Space(()), past=past)
        trial = Trial("new")
        scheduler.on_trial_add(None, trial)
        assert scheduler.on_trial_result(None, trial, {RESOURCE: 1, "knn_top1": value}) == decision
    fresh = make_scheduler(config, metric("knn_top1"), 9, space=Space(()), past=[])
    fresh.on_trial_add(None, Trial("new"))
    assert fresh.on_trial_result(None, Trial("new"), {RESOURCE: 1, "knn_top1": 0.5}) == "CONTINUE"


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_trial_that_repeats_its_rungs_after_a_restart_is_not_judged_twice(name: str) -> None:
    class Trial:
        trial_id = "again"

    past = [
        TrialRecord(n, {}, "complete", value=0.9, rungs={1.0: 0.9, 3.0: 0.9, 9.0: 0.9})
        for n in range(4)
    ]
    scheduler = make_scheduler(
        settings_from({"scheduler": name}).scheduler,
        metric("knn_top1"),
        9,
        space=Space(()),
        past=past,
    )
    trial = Trial()
    scheduler.on_trial_add(None, trial)
    poor = {RESOURCE: 1, "knn_top1": 0.1}
    assert scheduler.on_trial_result(None, trial, poor | {REPEATED: True}) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, {RESOURCE: 3, "knn_top1": 0.1}) == "STOP"


@pytest.mark.parametrize("name", ["asha", "median"])
def test_the_recipes_own_trial_is_not_stopped(name: str) -> None:
    class Trial:
        def __init__(self, number: int) -> None:
            self.trial_id, self.config = str(number), {"number": number}

    past = [
        TrialRecord(n, {}, "complete", value=0.9, rungs={1.0: 0.9, 3.0: 0.9, 9.0: 0.9})
        for n in range(2, 6)
    ]
    config = settings_from({"scheduler": name}).scheduler
    for number, rungs, decisions in ((0, (1, 2, 3), ["CONTINUE"] * 3), (1, (3,), ["STOP"])):
        scheduler = make_scheduler(config, metric("knn_top1"), 9, space=Space(()), past=past)
        trial = Trial(number)
        scheduler.on_trial_add(None, trial)
        found = [
            scheduler.on_trial_result(None, trial, {RESOURCE: rung, "knn_top1": 0.1})
            for rung in rungs
        ]
        assert found == decisions


def test_median_stopping_survives_trials_that_failed_and_few_samples() -> None:
    class Trial:
        def __init__(self, name: str) -> None:
            self.trial_id = name

    past = [TrialRecord(0, {}, "complete", value=0.9, rungs={1.0: 0.5, 9.0: 0.9})]
    scheduler = make_scheduler(
        settings_from({"scheduler": "median"}).scheduler,
        metric("knn_top1"),
        9,
        space=Space(()),
        past=past,
    )
    bad, good = Trial("bad"), Trial("good")
    for trial in (bad, good):
        scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, bad, {"failed": "it crashed"})
    assert scheduler.on_trial_result(None, good, {RESOURCE: 1, "knn_top1": 0.1}) == "CONTINUE"


def test_a_metric_that_is_better_when_smaller_is_compared_so() -> None:
    class Trial:
        trial_id = "new"

    past = [TrialRecord(n, {}, "complete", value=0.2, rungs={1.0: 0.2, 9.0: 0.2}) for n in range(3)]
    for value, decision in ((0.9, "STOP"), (0.1, "CONTINUE")):
        scheduler = make_scheduler(
            settings_from({}).scheduler, metric("alpha_req_gap"), 9, space=Space(()), past=past
        )
        trial = Trial()
        scheduler.on_trial_add(None, trial)
        assert (
            scheduler.on_trial_result(None, trial, {RESOURCE: 1, "alpha_req_gap": value})
            == decision
        )


def test_the_best_is_the_best_of_the_whole_trials_and_the_front_of_those_that_nothing_beats() -> (
    None
):
    def trial(number: int, state: Any, value: float, speed: float) -> TrialRecord:
        values = {"alpha_req_gap": value, "images_per_second": speed}
        return TrialRecord(number, {}, state, value=value, values=values, default=number == 0)

    trials = [
        trial(0, "complete", 0.5, 100),
        trial(1, "complete", 0.2, 50),
        trial(2, "complete", 0.6, 90),
        trial(3, "pruned", 0.1, 500),
    ]
    facts: dict[str, Any] = {
        "name": "s",
        "unit": "epochs",
        "space": "",
        "recipe": {},
        "sampler": "",
        "scheduler": "",
    }
    facts |= {"seed": 0, "planned": 4, "study_run_id": None, "labelled": False, "fidelity": 9}
    record = StudyRecord(
        metrics=["alpha_req_gap", "images_per_second"], modes=["min", "max"], trials=trials, **facts
    )
    assert record.best == trials[1]
    assert record.default == trials[0]
    assert record.front == [trials[0], trials[1]]
