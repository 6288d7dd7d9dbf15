"""A study by the command line, in real processes: killed, resumed, and what it leaves; what is
refused."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import pytest
import yaml
from command import descendants, manta_here, manta_running, refusal, sigkill, wait_until

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


def test_a_study_killed_in_the_middle_ends_with_what_was_asked_for(
    folder: Path, ray_cluster: str
) -> None:
    words = [
        "tune",
        SPACE,
        "--recipe",
        RECIPE,
        *QUICK,
        "study.scheduler.max=3",
        "--trials",
        "12",
        "--name",
        "killed",
    ]
    with manta_running(folder, *words) as command:
        wait_until(lambda: ended(folder, "killed") >= 4, command)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    before = {
        trial.number: trial for trial in trials_in(folder, "killed") if trial.state.is_finished()
    }
    assert 4 <= len(before) < 12
    assert "--resume" in refusal(folder, *words)
    other = refusal(folder, *words, "study.metric=rankme", "--resume")
    assert "another space, recipe, data or settings" in other

    manta_here(folder, *words, "--resume", "--summary", "killed.json")

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
    assert found["best"]["value"] == max(
        t["value"] for t in found["trials"] if t["state"] == "complete"
    )
    assert found["best"]["value"] > 0.8
    assert all(trial["epochs"] == 3 for trial in found["trials"] if trial["state"] == "complete")


def test_what_a_study_leaves(folder: Path) -> None:
    """After the one above."""
    study = folder / "manta-runs/killed"
    found = summary_of(folder, "killed")
    best = load(study / "best.yaml")
    assert best.objective.temperature == pytest.approx(
        found["best"]["params"]["objective.temperature"]
    )  # type: ignore[attr-defined]
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
        [parent.info.experiment_id],
        f"tags.mlflow.parentRunId = '{found['study_run_id']}'",
        max_results=100,
    )
    assert {run.info.run_id for run in children} == {trial["run_id"] for trial in found["trials"]}
    assert {run.info.status for run in children} == {"FINISHED"}
    one = client.get_run(found["best"]["run_id"])
    assert one.data.tags["manta.state"] == "complete"
    assert float(one.data.params["objective.temperature"]) == pytest.approx(
        best.objective.temperature
    )  # type: ignore[attr-defined]
    curve = client.get_metric_history(found["best"]["run_id"], "knn_top1")
    assert len(curve) == 3

    shown = manta_here(folder, "study", "killed", "--summary", "again.json").stdout
    assert "temperature" in shown
    assert summary_of(folder, "again") == found


def test_what_can_never_run_is_refused_before_anything_starts(
    folder: Path, ray_cluster: str
) -> None:
    words = ["tune", SPACE, "--recipe", RECIPE, *QUICK]
    for change, message in [
        ("study.metric=loss", "another scale"),
        ("study.metric=knn_top2", "did you mean"),
        ("study.resources.cpus=64", "lower study.resources.cpus"),
        ("study.resources.concurrent=50", "lower it, or study.resources.cpus"),
        ("study.scheduler.min=2", "no multiple of study.scheduler.min 2"),
        ("study.sampler=best", "study.sampler"),
    ]:
        assert message in refusal(folder, *words, change, "--name", "never"), change
        assert not (folder / "manta-runs/never").exists()
