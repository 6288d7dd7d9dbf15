"""Tracking against real stores: SQLite files, and an `mlflow server` that is stopped and
started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from tracking_server import Server

from manta.errors import RunError, TrackingError
from manta.metric_log import read_metrics
from manta.tracking import (
    Dataset,
    MetricLog,
    SystemSampler,
    Tracker,
)


def points(tracker: Tracker, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in tracker.client.get_metric_history(run_id, name)]


def until_sent(log: MetricLog) -> None:
    for _ in range(600):
        if log.pending == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{log.pending} points were never sent")


# Runs


def test_a_run_says_what_it_was_made_from(tracker: Tracker, tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "train": {"epochs": 3, "clip": None, "betas": [0.9, 0.95], "args": {}},
        "evaluation": {"evaluators": [{"name": "knn", "k": 20}, {"name": "rank"}]},
        "description": "long " * 2000,
        **{f"key{number}": number for number in range(150)},
    }
    dataset = Dataset("digits", digest="d" * 64, source="s3://bucket/digits", rows=1797)
    run_id = tracker.create_run(
        "first",
        config=config,
        tags={"objective": "dcl"},
        git_commit="c0ffee",
        dataset=dataset,
        parent="p1",
    )
    run = tracker.client.get_run(run_id)
    params = run.data.params
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"
    assert params["train.epochs"] == "3"
    assert params["train.clip"] == "None"
    assert params["train.betas"] == "[0.9, 0.95]"
    assert params["train.args"] == "{}"
    assert params["evaluation.evaluators.0.k"] == "20"
    assert params["evaluation.evaluators.1.name"] == "rank"
    assert params["key149"] == "149"
    assert len(params["description"]) == 6000
    assert run.data.tags["objective"] == "dcl"
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.tags["mlflow.parentRunId"] == "p1"
    logged = run.inputs.dataset_inputs[0].dataset
    assert (logged.name, logged.digest) == ("digits", "d" * 36)
    assert json.loads(logged.source) == {"source": "s3://bucket/digits", "digest": "d" * 64}
    # The default store and everything in it lie in the runs' folder.
    assert tracker.uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert run.info.artifact_uri.startswith(f"file://{tmp_path}/runs/mlartifacts/")


def test_a_run_ends_and_goes_on(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("one", config={})
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "loss.png").write_bytes(b"png")
    tracker.log_artifact(run_id, tmp_path / "plots" / "loss.png", folder="figures")
    tracker.log_artifacts(run_id, tmp_path / "plots", folder="all")
    stored = tmp_path / "runs" / "mlartifacts" / run_id / "artifacts"
    assert (stored / "figures" / "loss.png").read_bytes() == b"png"
    assert (stored / "all" / "loss.png").read_bytes() == b"png"
    tracker.set_tags(run_id, {"diagnosis": "collapse"})
    tracker.finish(run_id, "FAILED")
    run = tracker.client.get_run(run_id)
    assert (run.info.status, run.data.tags["diagnosis"]) == ("FAILED", "collapse")
    tracker.resume(run_id)
    assert tracker.client.get_run(run_id).info.status == "RUNNING"
    tracker.finish(run_id)
    run = tracker.client.get_run(run_id)
    assert (run.info.status, run.info.end_time > 0) == ("FINISHED", True)


def test_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Tracker("sqlite:///here/my.db").uri == f"sqlite:///{tmp_path}/here/my.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert Tracker().uri == "http://somewhere:5000"
    assert Tracker("sqlite:////a.db").uri == "sqlite:////a.db"
    for folder in ("./mlruns", "file:///tmp/mlruns"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", folder)
        with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI to sqlite"):
            Tracker()


def test_a_store_that_refuses_is_one_line(tracker: Tracker) -> None:
    with pytest.raises(TrackingError, match="cannot resume the run nothing") as caught:
        tracker.resume("nothing")
    assert "\n" not in str(caught.value)
    tracker.client.delete_experiment(tracker.experiment_id)
    again = Tracker(tracker.uri)
    with pytest.raises(TrackingError, match="mlflow experiments restore"):
        again.create_run("x", config={})
    away = Tracker("http://user:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match="does not answer; start it") as caught:
        away.create_run("x", config={})
    assert "secret" not in str(caught.value)
    with pytest.raises(TrackingError, match="no tracking store can be opened"):
        _ = Tracker("ftp://nowhere").client


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = (
        "import sys, manta.tracking as t; t.Tracker('http://x'); assert 'mlflow' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": "platform"}
    )


# Metrics


def test_metrics_reach_the_store_once(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("metrics", config={})
    log = MetricLog(tmp_path / "metrics.jsonl", uri=tracker.uri, run_id=run_id)
    for step in range(50):
        log.log(step, {"loss": 1 / (step + 1), "odd [name]": step})
    log.log(49, {"loss": 77.0, "knn_top1": 0.5})  # the loss of step 49 is known
    log.log(50, {f"many/{number}": number for number in range(2500)})
    log.log(51, {"loss": nan, "grad": inf})
    assert log.close(60) == 0
    assert points(tracker, run_id, "loss")[:50] == [(step, 1 / (step + 1)) for step in range(50)]
    assert isnan(points(tracker, run_id, "loss")[50][1])
    assert isnan(points(tracker, run_id, "grad")[0][1])  # 1.8e308 otherwise
    assert points(tracker, run_id, "odd _name_") == [(step, step) for step in range(50)]
    assert points(tracker, run_id, "knn_top1") == [(49, 0.5)]
    assert points(tracker, run_id, "many/2499") == [(50, 2499)]
    # The file is strict JSON, holds the same, and keeps the infinity.
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in log.path.read_text().splitlines()
    ]
    assert len(lines) == 50 + 1 + 3 + 1
    assert list(read_metrics(log.path))[-1].metrics["grad"] == inf
    log.log(52, {"loss": 1.0})  # after the end: nothing happens
    assert log.pending == 0


def test_replay_after_a_resume_repeats_nothing(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("resumed", config={})
    path = tmp_path / "metrics.jsonl"
    first = MetricLog(path, uri=tracker.uri, run_id=run_id)
    for step in range(1, 31):
        first.log(step, {"loss": float(step)})
    first.log(30, {"system/cpu": 0.5})
    until_sent(first)
    for step in range(31, 41):  # the process dies before these are sent, in the middle of a line
        first._file.write(
            json.dumps({"step": step, "time": 1.0, "metrics": {"loss": float(step)}}).encode()
            + b"\n"
        )
    first._file.write(b'{"step": 41, "ti')
    first._file.flush()

    second = MetricLog(path, uri=tracker.uri, run_id=run_id)
    second.rewind(20)
    assert [record.step for record in read_metrics(path)] == [*range(1, 21), 30]
    for step in range(18, 61):  # also what stands before the checkpoint may come again
        second.log(step, {"loss": float(step), "late": 1.0})
    assert second.step == 60
    with pytest.raises(RunError, match="before the first is logged"):
        second.rewind(20)
    assert second.close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(1, 61)]
    assert points(tracker, run_id, "late") == [(step, 1.0) for step in range(18, 61)]
    assert points(tracker, run_id, "system/cpu") == [(30, 0.5)]
    curve = [record.metrics["loss"] for record in read_metrics(path) if "loss" in record.metrics]
    assert curve == [float(step) for step in range(1, 61)]

    # Once more, from an earlier checkpoint, with nothing logged but what was.
    third = MetricLog(path, uri=tracker.uri, run_id=run_id)
    third.rewind(10)
    for step in range(11, 62):
        third.log(step, {"loss": float(step)})
    assert third.close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(1, 62)]


def test_a_kill_in_the_middle_of_a_rewind_costs_nothing(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("killed", config={})
    path = tmp_path / "metrics.jsonl"
    first = MetricLog(path, uri=tracker.uri, run_id=run_id)
    for step in range(1, 21):
        first.log(step, {"loss": float(step), "system/cpu": 0.1})
    assert first.close(60) == 0
    content = path.read_bytes()
    killed = MetricLog(path, uri=tracker.uri, run_id=run_id)
    killed.rewind(10)
    killed.close(0)
    path.write_bytes(content)  # how far the server is was noted, and the file not yet replaced

    second = MetricLog(path, uri=tracker.uri, run_id=run_id)
    second.rewind(10)
    for step in range(11, 26):
        second.log(step, {"loss": float(step)})
    assert second.close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(1, 26)]
    assert [record.step for record in read_metrics(path)] == list(range(1, 26))


def test_what_a_process_left_is_sent_by_the_next(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("left", config={})
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "time": 5.0, "metrics": {"loss": step}} for step in range(5)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "not a line\n")
    log = MetricLog(path, uri=tracker.uri, run_id=run_id)
    assert log.pending == 5
    assert log.close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(5)]


def test_a_request_sent_twice_leaves_one_point(tracker: Tracker, tmp_path: Path) -> None:
    run_id = tracker.create_run("twice", config={})
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path, uri=tracker.uri, run_id=run_id)
    for step in range(20):
        log.log(step, {"loss": float(step), "lr": nan})
    assert log.close(60) == 0
    (tmp_path / "metrics.shipped").unlink()  # as if the answers had been lost
    assert MetricLog(path, uri=tracker.uri, run_id=run_id).close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(20)]
    assert len(points(tracker, run_id, "lr")) == 20


def test_the_machine_is_sampled(tracker: Tracker, tmp_path: Path) -> None:
    log = MetricLog(
        tmp_path / "metrics.jsonl", uri=tracker.uri, run_id=tracker.create_run("system", config={})
    )
    log.log(7, {"loss": 1.0})
    with SystemSampler(log, every=0.05) as sampler:
        while sum(1 for _ in read_metrics(log.path)) < 4:
            time.sleep(0.05)
    samples = list(read_metrics(log.path))[1:]
    assert {record.step for record in samples} == {7}
    for record in samples:
        assert 0 <= record.metrics["system/cpu"] <= 1
        assert 0 < record.metrics["system/memory"] < 1
        assert 50e6 < record.metrics["system/rss_bytes"] < 50e9
    assert set(sampler.sample()) >= {"system/cpu", "system/memory", "system/rss_bytes"}
    assert log.close(60) == 0


# A server that comes and goes


def test_a_server_that_stops_and_comes_back_gets_every_point_once(
    server: Server, tmp_path: Path
) -> None:
    tracker = Tracker(server.uri, runs_dir=tmp_path)
    run_id = tracker.create_run("outage", config={"a": 1})
    log = MetricLog(tmp_path / "metrics.jsonl", uri=server.uri, run_id=run_id)
    for step in range(100):
        log.log(step, {"loss": float(step), "nan": nan})
    until_sent(log)
    server.stop()
    try:
        for step in range(100, 1200):
            log.log(step, {"loss": float(step)})
        time.sleep(3)  # some attempts fail
        assert log.pending == 1100
    finally:
        server.start()
    for step in range(1200, 1300):
        log.log(step, {"loss": float(step)})
    assert log.close(60) == 0
    assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(1300)]
    assert [isnan(value) for _, value in points(tracker, run_id, "nan")] == [True] * 100
    tracker.finish(run_id)
    assert tracker.client.get_run(run_id).info.status == "FINISHED"


def test_a_server_that_never_comes_back_leaves_the_points_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = MetricLog(tmp_path / "metrics.jsonl", uri="http://127.0.0.1:9", run_id="0" * 32)
    for step in range(200):
        log.log(step, {"loss": float(step)})
    assert log.close(3) == 200
    assert [record.metrics for record in read_metrics(log.path)] == [
        {"loss": float(step)} for step in range(200)
    ]
    said = [
        record.getMessage() for record in caplog.records if record.name == "manta.tracking.metrics"
    ]
    assert len(said) == 1
    assert str(log.path) in said[0]
    assert "does not answer" in said[0]
