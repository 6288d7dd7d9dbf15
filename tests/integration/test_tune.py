"""Studies by the command line, in real processes: killed and resumed, with failing trials, with several workers."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import pytest
import yaml
from command import descendants, manta, manta_running, sigkill, wait_until

from manta.config import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "jobs/recipes/digits.yaml")
SPACE = str(ROOT / "search_spaces/temperature.yaml")
QUICK = [
    "data.image_size=16",
    "data.limit=900",
    "encoder.name=resnet10t",
    "train.batch_size=64",
    "train.precision=float32",
    "study.compare=[rankme,alpha_req_gap]",
]


def trials_in(folder: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    found = yaml.safe_load((folder / f"manta-runs/{name}/study.yaml").read_text())
    storage = f"sqlite:///{folder}/manta-runs/{name}/study.db"
    return optuna.load_study(study_name=found["optuna_name"], storage=storage).trials


def ended(folder: Path, name: str) -> int:
    """Trials that have ended, read as an onlooker does: Optuna itself takes seconds and locks."""
    database = folder / f"manta-runs/{name}/study.db"
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            query = "select count(*) from trials where state not in ('RUNNING', 'WAITING')"
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not there yet, or locked
            return 0


def summary_of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


def test_a_study_killed_in_the_middle_ends_with_what_was_asked_for(folder: Path) -> None:
    words = ["tune", SPACE, "--recipe", RECIPE, *QUICK, "study.scheduler.max=3", "--trials", "12", "--name", "killed"]
    with manta_running(folder, *words) as command:
        wait_until(lambda: ended(folder, "killed") >= 4, command)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    before = {trial.number: trial for trial in trials_in(folder, "killed") if trial.state.is_finished()}
    assert 4 <= len(before) < 12
    refused = manta(folder, *words, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    other = manta(folder, *words, "study.metric=rankme", "--resume", check=False)
    assert other.returncode == 2
    assert "another space, recipe, data or settings" in " ".join(other.stderr.split())

    manta(folder, *words, "--resume", "--summary", "killed.json")

    found = summary_of(folder, "killed")
    assert [trial["number"] for trial in found["trials"]] == list(range(12))
    assert {trial["state"] for trial in found["trials"]} == {"complete", "pruned"}
    assert len({trial["run_id"] for trial in found["trials"]}) == 12
    assert len({trial["params"]["objective.temperature"] for trial in found["trials"]}) == 12
    after = {trial.number: trial for trial in trials_in(folder, "killed")}
    for number, trial in before.items():  # not run again: nothing about them has changed
        assert after[number].datetime_complete == trial.datetime_complete
        assert after[number].user_attrs == trial.user_attrs
    assert found["trials"][0]["params"] == {"objective.temperature": 0.2}
    assert found["default_value"] == found["trials"][0]["value"]
    assert found["best"]["value"] == max(t["value"] for t in found["trials"] if t["state"] == "complete")
    assert found["best"]["value"] > 0.8
    assert all(trial["epochs"] == 3 for trial in found["trials"] if trial["state"] == "complete")


def test_what_a_study_leaves(folder: Path) -> None:
    """After the one above."""
    study = folder / "manta-runs/killed"
    found = summary_of(folder, "killed")
    best = load(study / "best.yaml")
    assert best.objective.temperature == pytest.approx(found["best"]["params"]["objective.temperature"])  # type: ignore[attr-defined]
    assert best.train.epochs == load(RECIPE).train.epochs, "the recipe's own budget, not a trial's"
    table = pd.read_parquet(study / "trials.parquet")
    assert table["number"].tolist() == list(range(12))
    assert table["params/objective.temperature"].between(0.03, 1.0).all()
    assert "killed" in (study / "study.html").read_text()
    stopped = [trial["number"] for trial in found["trials"] if trial["state"] == "pruned"]
    assert not any((study / f"trials/{number:04d}/checkpoints").exists() for number in stopped)
    assert not (study / "tune").exists()

    client = mlflow.MlflowClient(f"sqlite:///{folder}/manta-runs/mlflow.db")
    parent = client.get_run(found["study_run_id"])
    assert parent.info.status == "FINISHED"
    assert {"best.yaml", "study.html", "trials.parquet"} <= {
        file.path for file in client.list_artifacts(found["study_run_id"])
    }
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{found['study_run_id']}'", max_results=100
    )
    assert {run.info.run_id for run in children} == {trial["run_id"] for trial in found["trials"]}
    assert {run.info.status for run in children} == {"FINISHED"}
    one = client.get_run(found["best"]["run_id"])
    assert one.data.tags["manta.state"] == "complete"
    assert float(one.data.params["objective.temperature"]) == pytest.approx(best.objective.temperature)  # type: ignore[attr-defined]
    curve = client.get_metric_history(found["best"]["run_id"], "knn_top1")
    assert len(curve) == 3

    shown = manta(folder, "study", "killed", "--summary", "again.json").stdout
    assert "temperature" in shown
    assert summary_of(folder, "again") == found


FAILURES = """
study: {metric: knn_top1, scheduler: none, sampler: random, resources: {concurrent: 1, memory_gib: 8}}
space:
  views.flip:  # does nothing here: each value stands for one way to fail
    type: choice
    choices:
      0.0: {}
      0.1: {train.batch_size: {type: choice, choices: [2048]}}
      0.2: {optimizer.lr: {type: choice, choices: [1.0e+30]}}
      0.3: {objective.projector.hidden: {type: choice, choices: [3000000]}}
      0.4: {optimizer.weight_decay: {type: choice, choices: [500.0]}}
"""
REASONS = {
    0.1: r"DataError: .* do not fill a batch of 2048",
    0.2: r"not-finite: not finite at step",
    0.3: r"out of memory: ",
    0.4: r"collapsed: collapsed at step .* nearly the same features",
}


def test_trials_that_fail_are_shown_with_their_reason_and_the_study_goes_on(folder: Path, tmp_path: Path) -> None:
    """Each trial but the first fails in one of four ways: it raises, turns NaN, wants too much memory, collapses."""
    space = tmp_path / "failures.yaml"
    space.write_text(FAILURES)
    settings = [*QUICK, "study.scheduler.max=2", "study.seed=4", "watch.every=2", "watch.min_rank=3"]
    words = ["tune", str(space), "--recipe", RECIPE, *settings, "--name", "failing", "--trials", "9"]
    manta(folder, *words, "--summary", "failing.json")
    found = summary_of(folder, "failing")
    assert len(found["trials"]) == 9
    seen = set()
    for trial in found["trials"]:
        way = trial["params"]["views.flip"]
        if way == 0.0:
            assert trial["state"] == "complete"
            continue
        assert (trial["state"], trial["value"]) == ("failed", None)
        assert re.match(REASONS[way], trial["reason"]), trial["reason"]
        seen.add(way)
    assert seen == set(REASONS)
    page = (folder / "manta-runs/failing/study.html").read_text()
    assert "do not fill a batch of 2048" in page
    client = mlflow.MlflowClient(f"sqlite:///{folder}/manta-runs/mlflow.db")
    nan = next(trial for trial in found["trials"] if trial["params"]["views.flip"] == 0.2)
    run = client.get_run(nan["run_id"])
    assert run.info.status == "FAILED"
    assert run.data.tags["manta.reason"] == nan["reason"]


def test_trials_of_two_workers_end_early_and_release_what_they_held(folder: Path) -> None:
    """Each is a Ray Train run. A leaked placement group would leave no CPU for the third."""
    settings = [*QUICK, "study.scheduler.max=3", "resources.workers=2", "study.resources.concurrent=1"]
    words = ["tune", SPACE, "--recipe", RECIPE, *settings, "--name", "pairs", "--trials", "4"]
    manta(folder, *words, "--summary", "pairs.json")
    found = summary_of(folder, "pairs")
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert "pruned" in {trial["state"] for trial in found["trials"]}
    # Two workers share the global batch: the recipe's own trial is the one that one worker trains.
    alone = summary_of(folder, "killed")["trials"][0]
    assert found["trials"][0]["values"]["rankme"] == pytest.approx(alone["values"]["rankme"], rel=0.2)
    assert found["default_value"] == pytest.approx(alone["value"], abs=0.05)


def test_speed_as_a_second_metric_gives_a_front_under_median_stopping(folder: Path) -> None:
    settings = [*QUICK, "study.scheduler.name=median", "study.scheduler.max=2"]
    words = ["tune", SPACE, "--recipe", RECIPE, *settings, "study.metric=[knn_top1,images_per_second]"]
    manta(folder, *words, "--name", "front", "--trials", "4", "--summary", "front.json")
    found = summary_of(folder, "front")
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    assert all(trial["values"]["images_per_second"] > 0 for trial in found["trials"])
    assert found["front"]
    assert set(found["front"]) <= {trial["number"] for trial in found["trials"] if trial["state"] == "complete"}


def test_what_can_never_run_is_refused_before_anything_starts(folder: Path) -> None:
    words = ["tune", SPACE, "--recipe", RECIPE, *QUICK]
    for change, message in [
        ("study.metric=loss", "another scale"),
        ("study.metric=knn_top2", "did you mean"),
        ("study.resources.cpus=64", "lower study.resources.cpus"),
        ("study.resources.concurrent=50", "lower it, or study.resources.cpus"),
        ("study.scheduler.min=2", "no multiple of study.scheduler.min 2"),
        ("study.sampler=best", "study.sampler"),
    ]:
        done = manta(folder, *words, change, "--name", "never", check=False)
        assert done.returncode == 2, change
        assert message in " ".join(done.stderr.split()), (change, done.stderr)
        assert not (folder / "manta-runs/never").exists()
