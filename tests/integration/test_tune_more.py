"""Studies by the command line that take minutes: a population that is killed, a tracking server
that goes away and the winner registered, trials that fail, trials of several workers, two
metrics."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from command import descendants, manta, manta_here, manta_running, sigkill, wait_until
from test_tune import QUICK, RECIPE, ended, summary_of, trials_in
from test_tune import SPACE as SHIPPED
from tracking_server import Server

from manta.modalities.image.preprocess import photographs
from manta.runs.checkpoint import Checkpoints
from manta.runs.folder import RunFolder
from manta.serving import load_exported
from manta.tracking import Tracker, download_model

pytestmark = pytest.mark.long
LIVE = """
study: {metric: knn_top1, trials: 4, scheduler: {name: pbt, max: 4}, resources: {concurrent: 2}}
space:
  objective.temperature: {type: float, low: 0.05, high: 1.0, log: true}
  optimizer.lr: {type: float, low: 1.0e-6, high: 1.0e-2, log: true}
"""


def mutated(folder: Path, name: str) -> set[int]:
    """Trials that are running with values that PBT gave them, read as an onlooker does."""
    database = folder / f"manta-runs/{name}/study.db"
    if not database.exists():
        return set()
    query = (
        "select number from trials join trial_user_attributes using (trial_id) "
        "where state = 'RUNNING' and key = 'manta.drawn'"
    )
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return {int(number) for (number,) in connection.execute(query)}
        except sqlite3.OperationalError:  # the tables are not there yet, or locked
            return set()


def json_of(path: Path, default: Any = None) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def test_a_population_killed_in_the_middle_goes_on_with_what_it_had_become(
    ray_cluster: str, tmp_path: Path
) -> None:
    space = tmp_path / "live.yaml"
    space.write_text(LIVE)
    words = ["tune", str(space), "--recipe", RECIPE, *QUICK, "study.compare=[]", "--name", "live"]
    with manta_running(tmp_path, *words) as command:
        wait_until(lambda: bool(mutated(tmp_path, "live")), command)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    study = tmp_path / "manta-runs/live"
    before = {trial.number: trial for trial in trials_in(tmp_path, "live")}
    open_then = [number for number, trial in before.items() if not trial.state.is_finished()]
    assert set(before) == {0, 1, 2, 3}
    assert mutated(tmp_path, "live") <= set(open_then)
    folders = {number: study / f"trials/{number:04d}" for number in before}
    rungs = {number: json_of(folder / "rungs.json", []) for number, folder in folders.items()}
    taken = {number: json_of(folder / "taken.json") for number, folder in folders.items()}
    newest = {
        number: Checkpoints(RunFolder(folder), None).latest() for number, folder in folders.items()
    }
    runs = {
        number: json_of(folder / "run.json", {}).get("run_id") for number, folder in folders.items()
    }

    manta_here(tmp_path, *words, "--resume", "--summary", "live.json")

    found = summary_of(tmp_path, "live")
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 4
    after = {trial.number: trial for trial in trials_in(tmp_path, "live")}
    ended_with = {trial["number"]: trial["params"] for trial in found["trials"]}
    client = Tracker(runs_dir=tmp_path / "manta-runs").client
    kept_on = 0
    for number, folder in folders.items():
        trial = found["trials"][number]
        assert runs[number] in (None, trial["run_id"]), "the same run in MLflow"
        steps = [point.step for point in client.get_metric_history(trial["run_id"], "knn_top1")]
        assert len(steps) == len(set(steps))
        assert 0.05 <= trial["params"]["objective.temperature"] <= 1.0
        final = json_of(folder / "rungs.json")
        assert trial["params"] == final[-1]["drawn"]
        if number not in open_then:
            assert after[number].datetime_complete == before[number].datetime_complete
            continue
        copy, had, checkpoint = json_of(folder / "taken.json"), rungs[number], newest[number]
        if copy != taken[number] or checkpoint is None:
            continue  # it has copied another trial since, or had nothing to lose
        past = [rung for rung in had if rung["step"] <= checkpoint.step]
        assert final[: len(past)] == past, "no step of it was trained again"
        values = copy["drawn"] if copy is not None else before[number].params
        assert [rung["drawn"] for rung in final[len(past) :]] == [values] * (4 - len(past))
        kept_on += len(past) > 0
    assert kept_on, "one of four at a time takes another's weights: the others go on with theirs"
    changed = {number for number, trial in after.items() if trial.params != ended_with[number]}
    assert changed, (
        "the worst trial has taken over a better one's weights, with values near its own"
    )
    assert (study / "best-schedule.json").exists() == (found["best"]["number"] in changed)


SPACE = "space:\n  objective.temperature: {type: float, low: 0.1, high: 0.5}\n"


def test_a_study_outlives_its_tracking_server_and_registers_its_winner(
    tmp_path: Path, server: Server
) -> None:
    """The server is away from the first trial's training to its end: the second waits for it,
    nothing is lost."""
    space = tmp_path / "small.yaml"
    space.write_text(SPACE)
    settings = [
        *QUICK,
        "study.compare=[]",
        "study.scheduler=none",
        "study.resources.concurrent=1",
        "train.epochs=1",
    ]
    words = ["tune", str(space), "--recipe", RECIPE, *settings, "tracking.register_model=false"]
    words += ["tracking.experiment=away", "--name", "away", "--trials", "2"]
    words += ["--register", "--summary", "away.json"]
    env = {"MLFLOW_TRACKING_URI": server.uri}
    first = tmp_path / "manta-runs/away/trials/0000"
    with manta_running(tmp_path, *words, env=env) as command:
        wait_until(lambda: (first / "run.json").exists(), command)
        server.stop()
        wait_until(lambda: ended(tmp_path, "away") == 1, command)
        server.start()
        output, _ = command.communicate(timeout=200)
    assert command.returncode == 0, output
    found = summary_of(tmp_path, "away")
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
    tracker = Tracker(server.uri, "away")
    for trial in found["trials"]:
        run = tracker.client.get_run(trial["run_id"])
        assert (run.info.status, run.data.tags["manta.state"]) == ("FINISHED", "complete")
        (point,) = tracker.client.get_metric_history(trial["run_id"], "knn_top1")
        assert point.value == trial["value"]

    trained = found["registered"]
    assert trained["name"] == "away-best"
    run = tracker.client.get_run(trained["run_id"])
    assert run.data.tags["manta.study"] == "away"
    assert run.data.tags["manta.study_run"] == found["study_run_id"]
    assert run.data.tags["manta.trial"] == str(found["best"]["number"])
    parent = tracker.client.get_run(found["study_run_id"])
    assert parent.data.tags["manta.registered_run"] == trained["run_id"]
    version = tracker.client.get_model_version_by_alias("manta-simclr-resnet10t", "candidate")
    assert (version.run_id, trained["model_uri"]) == (
        trained["run_id"],
        "models:/manta-simclr-resnet10t@candidate",
    )
    encoder = load_exported(
        download_model(tracker, trained["model_uri"], tmp_path / "model") / "encoder"
    )
    with torch.no_grad():
        assert torch.isfinite(encoder(photographs()[1])).all()

    again = manta(tmp_path, *words, "--resume", env=env)
    assert "already finished" in again.stderr
    assert summary_of(tmp_path, "away")["registered"]["run_id"] == trained["run_id"]


FAILURES = """
study:
  metric: knn_top1
  scheduler: none
  sampler: random
  resources: {concurrent: 1, memory_gib: 8}
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


def test_trials_that_fail_are_shown_with_their_reason_and_the_study_goes_on(
    ray_cluster: str, tmp_path: Path
) -> None:
    """Each trial but the first fails in one of four ways: it raises, turns NaN, wants too much
    memory, collapses."""
    space = tmp_path / "failures.yaml"
    space.write_text(FAILURES)
    settings = [
        *QUICK,
        "study.scheduler.max=2",
        "study.seed=4",
        "watch.every=2",
        "watch.min_rank=3",
    ]
    words = [
        "tune",
        str(space),
        "--recipe",
        RECIPE,
        *settings,
        "--name",
        "failing",
        "--trials",
        "9",
    ]
    manta_here(tmp_path, *words, "--summary", "failing.json")
    found = summary_of(tmp_path, "failing")
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
    page = (tmp_path / "manta-runs/failing/study.html").read_text()
    assert "do not fill a batch of 2048" in page
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/manta-runs/mlflow.db")
    nan = next(trial for trial in found["trials"] if trial["params"]["views.flip"] == 0.2)
    run = client.get_run(nan["run_id"])
    assert run.info.status == "FAILED"
    assert run.data.tags["manta.reason"] == nan["reason"]


def test_trials_of_two_workers_end_early_and_release_what_they_held(
    ray_cluster: str, tmp_path: Path
) -> None:
    """Each is a Ray Train run. A leaked placement group would leave no CPU for the third."""
    settings = [
        *QUICK,
        "study.scheduler.max=3",
        "resources.workers=2",
        "study.resources.concurrent=1",
    ]
    words = ["tune", SHIPPED, "--recipe", RECIPE, *settings, "--name", "pairs", "--trials", "4"]
    manta_here(tmp_path, *words, "--summary", "pairs.json")
    found = summary_of(tmp_path, "pairs")
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert "pruned" in {trial["state"] for trial in found["trials"]}
    # Two workers share the global batch: the recipe's own trial is the one that one worker trains.
    single = [
        "resources.workers=1",
        "--name",
        "single",
        "--trials",
        "1",
        "--summary",
        "single.json",
    ]
    manta_here(tmp_path, "tune", SHIPPED, "--recipe", RECIPE, *settings, *single)
    alone = summary_of(tmp_path, "single")["trials"][0]
    assert found["trials"][0]["values"]["rankme"] == pytest.approx(
        alone["values"]["rankme"], rel=0.2
    )
    assert found["default_value"] == pytest.approx(alone["value"], abs=0.05)


def test_speed_as_a_second_metric_gives_a_front_under_median_stopping(
    ray_cluster: str, tmp_path: Path
) -> None:
    settings = [*QUICK, "study.scheduler.name=median", "study.scheduler.max=2"]
    words = [
        "tune",
        SHIPPED,
        "--recipe",
        RECIPE,
        *settings,
        "study.metric=[knn_top1,images_per_second]",
    ]
    manta_here(tmp_path, *words, "--name", "front", "--trials", "4", "--summary", "front.json")
    found = summary_of(tmp_path, "front")
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    assert all(trial["values"]["images_per_second"] > 0 for trial in found["trials"])
    assert found["front"]
    assert set(found["front"]) <= {
        trial["number"] for trial in found["trials"] if trial["state"] == "complete"
    }
