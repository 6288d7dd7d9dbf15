"""Records of trials, from a database as Manta's searcher leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from spaces import RECIPE, space_of

from manta.tuning.study.metrics import metric
from manta.tuning.study.storage import attributes, open_storage, rejected
from manta.tuning.study.trial_records import trial_records

SPACE = space_of("objective.temperature: {type: float, low: 0.05, high: 1.0}")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(
        study_name="s", storage=open_storage(f"sqlite:///{tmp_path / 's.db'}"), direction="maximize"
    )


def add(study: optuna.Study, ended: TrialState, temperature: float, **kept: Any) -> FrozenTrial:
    trial = optuna.create_trial(
        state=ended,
        value=0.5 if ended == TrialState.COMPLETE else None,
        params={"objective.temperature": temperature},
        distributions={"objective.temperature": optuna.distributions.FloatDistribution(0.05, 1.0)},
        user_attrs={f"manta.{key}": value for key, value in kept.items()},
    )
    study.add_trial(trial)
    return trial


def test_every_kind_of_trial(study: optuna.Study) -> None:
    kept = {"values": {"knn_top1": 0.8, "rankme": 30}, "rungs": {"1": 0.7, "3": 0.8}}
    complete = {"state": "complete", "epochs": 3.0, "seconds": 9.5, "run_id": "r", "default": True}
    add(study, TrialState.COMPLETE, 0.1, **kept, **complete)
    add(study, TrialState.PRUNED, 0.2, **kept, state="pruned", reason="stopped at 1 of 3")
    add(study, TrialState.COMPLETE, 0.3, **kept, state="failed", reason="it crashed")
    add(study, TrialState.FAIL, 0.4, state="rejected", reason="a < b")
    study.ask()
    study.enqueue_trial({"objective.temperature": 0.5})
    records = trial_records(study, SPACE, [metric("knn_top1")])
    assert [one.number for one in records] == [0, 1, 2, 4, 5], "what was rejected is no trial"
    states = ["complete", "pruned", "failed", "running", "waiting"]
    assert [one.state for one in records] == states
    assert [one.value for one in records] == [0.8, 0.8, None, None, None]
    first = records[0]
    assert first.params == {"objective.temperature": 0.1}
    assert (first.rungs, first.values) == ({1.0: 0.7, 3.0: 0.8}, {"knn_top1": 0.8, "rankme": 30.0})
    assert (first.epochs, first.seconds, first.run_id, first.default) == (3.0, 9.5, "r", True)
    assert records[2].reason == "it crashed"


def test_what_pbt_made_of_the_values_counts(study: optuna.Study) -> None:
    add(study, TrialState.COMPLETE, 0.1, state="complete", drawn={"objective.temperature": 0.12})
    (record,) = trial_records(study, SPACE, [metric("knn_top1")])
    assert record.params == {"objective.temperature": 0.12}
    assert SPACE.apply(RECIPE, record.params).objective.temperature == 0.12


def test_a_recipe_outside_of_the_space_has_no_parameters(study: optuna.Study) -> None:
    add(study, TrialState.FAIL, 0.1, state="complete", inside=False, values={"knn_top1": 0.6})
    (record,) = trial_records(study, SPACE, [metric("knn_top1")])
    assert (record.params, record.state, record.value) == ({}, "complete", 0.6)


def test_attributes_have_no_prefix(study: optuna.Study) -> None:
    trial = add(study, TrialState.FAIL, 0.1, state="rejected", reason="a < b")
    assert attributes(trial) == {"state": "rejected", "reason": "a < b"}
    assert rejected(trial)
