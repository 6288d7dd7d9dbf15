"""The name of the winner's run, and who is no winner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spaces import recipe

from manta.config import Experiment
from manta.errors import RunError
from manta.report.study.record import StudyRecord, TrialRecord
from manta.runs.folder import RunFolder
from manta.tuning.register import register_winner, run_name


def begin(runs: Path, name: str, experiment: Experiment) -> None:
    RunFolder(runs / name).write(experiment.to_yaml().encode(), "experiment.yaml")


def test_a_winner_that_was_begun_goes_on(tmp_path: Path) -> None:
    winner = recipe(train={"epochs": 3})
    assert run_name("s", 4, winner, str(tmp_path)) == ("s-best", False)
    begin(tmp_path, "s-best", winner)
    assert run_name("s", 4, winner, f"{tmp_path}/") == ("s-best", True)


def test_another_winner_has_another_name(tmp_path: Path) -> None:
    begin(tmp_path, "s-best", recipe(train={"epochs": 3}))
    winner = recipe(train={"epochs": 4})
    assert run_name("s", 4, winner, str(tmp_path)) == ("s-best-4", False)
    begin(tmp_path, "s-best-4", winner)
    assert run_name("s", 4, winner, str(tmp_path)) == ("s-best-4", True)
    with pytest.raises(RunError, match=r"s-best and s-best-4 exist in .*remove or rename one"):
        run_name("s", 4, recipe(train={"epochs": 5}), str(tmp_path))


def test_a_study_without_a_whole_trial_has_no_winner(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "name": "s", "metrics": ["knn_top1"], "modes": ["max"], "unit": "epochs", "space": "",
        "recipe": {}, "sampler": "tpe", "scheduler": "asha", "seed": 0, "planned": 1,
        "study_run_id": None, "labelled": True, "fidelity": 9,
    }  # fmt: skip
    record = StudyRecord(trials=[TrialRecord(0, {}, "pruned", value=0.9)], **facts)
    study: Any = None  # it is not looked at
    with pytest.raises(RunError, match="'s' has no trial that came to its end; there is nothing"):
        register_winner(study, record, runs=str(tmp_path), notify=print)
