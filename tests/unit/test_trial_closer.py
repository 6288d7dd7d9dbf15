"""What follows a trial: its run in MLflow, its folder, its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from manta.report.study.record import TrialRecord
from manta.runs.folder import RunFolder
from manta.tracking import Tracker
from manta.tuning.study.folders import trial_folder, trial_name, trials_folder
from manta.tuning.study.storage import Outcome
from manta.tuning.trials.closing import TrialCloser


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", "closing")


@pytest.fixture
def study(tmp_path: Path, tracker: Tracker) -> RunFolder:
    """A study with two trials that have a run and a checkpoint each."""
    study = RunFolder(tmp_path / "s")
    for number in (0, 1):
        folder = trial_folder(study, number)
        run_id = tracker.create_run(f"s-{trial_name(number)}", config={})
        folder.write_json({"run_id": run_id, "status": "running"}, "run.json")
        folder.write(b"weights", "checkpoints", "step-00000005", "state.pt")
    return study


def run_of(study: RunFolder, number: int) -> str:
    return str(trial_folder(study, number).read_json("run.json")["run_id"])


def record(study: RunFolder, number: int, state: str, reason: str | None = None) -> TrialRecord:
    return TrialRecord(number, {}, state, run_id=run_of(study, number), reason=reason)


def test_a_stopped_trial_loses_its_checkpoints_and_a_complete_one_keeps_them(
    study: RunFolder, tracker: Tracker
) -> None:
    closer = TrialCloser(tracker, trials_folder(study))
    closer.trial_ended(record(study, 0, "complete"), Outcome("complete", None, {}))
    closer.trial_ended(record(study, 1, "pruned"), Outcome("pruned", "others did better", {}))
    assert closer.close(), "the store has everything"
    assert trial_folder(study, 0).exists("checkpoints", "step-00000005", "state.pt")
    assert not trial_folder(study, 1).exists("checkpoints")
    described = trial_folder(study, 1).read_json("run.json")
    assert (described["status"], described["reason"]) == ("pruned", "others did better")
    run = tracker.client.get_run(run_of(study, 1))
    assert run.info.status == "FINISHED"
    assert run.data.tags["manta.state"] == "pruned"
    assert run.data.tags["manta.reason"] == "others did better"
    assert "manta.reason" not in tracker.client.get_run(run_of(study, 0)).data.tags


def test_under_pbt_checkpoints_stay_until_the_end(study: RunFolder, tracker: Tracker) -> None:
    closer = TrialCloser(tracker, trials_folder(study), keep=True)
    closer._close_trial(record(study, 1, "failed"), Outcome("failed", "it crashed", {}))
    assert trial_folder(study, 1).exists("checkpoints")
    assert closer.close()
    assert not trial_folder(study, 1).exists("checkpoints")
    assert tracker.client.get_run(run_of(study, 1)).info.status == "FAILED"


def test_a_trial_that_no_rung_told_of_is_found_by_its_folder(
    study: RunFolder, tracker: Tracker
) -> None:
    closer = TrialCloser(tracker, trials_folder(study))
    closer.close_earlier([TrialRecord(0, {}, "failed", reason="its process is gone")])
    assert closer.close()
    run = tracker.client.get_run(run_of(study, 0))
    assert (run.info.status, run.data.tags["manta.reason"]) == ("FAILED", "its process is gone")


def test_trials_that_stop_with_the_driver_are_marked(study: RunFolder, tracker: Tracker) -> None:
    closer = TrialCloser(tracker, trials_folder(study))
    never_begun = TrialRecord(7, {}, "running")
    closer.interrupted([record(study, 0, "running"), never_begun])
    assert tracker.client.get_run(run_of(study, 0)).info.status == "KILLED"
    assert trial_folder(study, 0).read_json("run.json")["status"] == "running"


def test_metrics_that_wait_in_the_folder_are_sent(study: RunFolder, tracker: Tracker) -> None:
    line = '{"step": 5, "time": 1700000000.0, "metrics": {"knn_top1": 0.75}}\n'
    trial_folder(study, 0).write(line.encode(), "metrics.jsonl")
    closer = TrialCloser(tracker, trials_folder(study))
    closer.trial_ended(record(study, 0, "complete"), Outcome("complete", None, {}))
    assert closer.close()
    history = tracker.client.get_metric_history(run_of(study, 0), "knn_top1")
    assert [(one.step, one.value) for one in history] == [(5, 0.75)]
