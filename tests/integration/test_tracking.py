"""Tracking against real stores: SQLite files, and an `mlflow server` that is stopped and started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from manta.encoders import Encoder, EncoderConfig, build
from manta.errors import RunError, TrackingError
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.tracking import (
    Dataset,
    MetricLog,
    SystemSampler,
    Tracker,
    download_model,
    log_model,
    read_metrics,
)


@pytest.fixture(autouse=True)
def _no_uri_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store with its tables made, which takes seconds; tests copy it."""
    folder = tmp_path_factory.mktemp("store")
    assert Tracker(f"sqlite:///{folder}/mlflow.db", "nothing").experiment_id
    return folder / "mlflow.db"


@pytest.fixture
def tracker(migrated: Path, tmp_path: Path) -> Tracker:
    """The default store: `<runs_dir>/mlflow.db`."""
    (tmp_path / "runs").mkdir()
    shutil.copy(migrated, tmp_path / "runs" / "mlflow.db")
    return Tracker(runs_dir=tmp_path / "runs")


class Server:
    """A real `mlflow server` on one port, in its own process group."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(1200):
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, folder / "mlflow.db")
    running = Server(folder)
    running.start()
    yield running
    running.stop()


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
        "first", config=config, tags={"objective": "dcl"}, git_commit="c0ffee", dataset=dataset, parent="p1"
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
    assert tracker.run_url(run_id) is None
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
    code = "import sys, manta.tracking as t; t.Tracker('http://x'); assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": "platform"})


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
    lines = [json.loads(line, parse_constant=pytest.fail) for line in log.path.read_text().splitlines()]
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
        first._file.write(json.dumps({"step": step, "time": 1.0, "metrics": {"loss": float(step)}}).encode() + b"\n")
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
    log = MetricLog(tmp_path / "metrics.jsonl", uri=tracker.uri, run_id=tracker.create_run("system", config={}))
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


def test_a_server_that_stops_and_comes_back_gets_every_point_once(server: Server, tmp_path: Path) -> None:
    tracker = Tracker(server.uri, runs_dir=tmp_path)
    run_id = tracker.create_run("outage", config={"a": 1})
    assert tracker.run_url(run_id) == f"{server.uri}/#/experiments/{tracker.experiment_id}/runs/{run_id}"
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
    assert [record.metrics for record in read_metrics(log.path)] == [{"loss": float(step)} for step in range(200)]
    said = [record.getMessage() for record in caplog.records if record.name == "manta.tracking.metrics"]
    assert len(said) == 1
    assert str(log.path) in said[0]
    assert "does not answer" in said[0]


# Models


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportedEncoder, Path]:
    torch.manual_seed(0)
    config = EncoderConfig(name="resnet10t", stem="small")
    encoder = build(config, image_size=32).to(memory_format=torch.channels_last)
    module = ExportedEncoder(encoder, 32, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    folder = tmp_path_factory.mktemp("encoder")
    save_encoder(module, folder, config=config)
    return module, folder


def assert_model_serves(uri: str, module: ExportedEncoder) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(uri)
    for shape in [(1, 32, 32, 3), (3, 20, 24, 3), (2, 100, 60, 3)]:
        images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(model.predict(images), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(np.zeros((1, 8, 8, 3)))  # the signature holds it to uint8


def test_a_model_goes_round(
    tracker: Tracker, exported: tuple[ExportedEncoder, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, folder = exported
    module.encoder.train()
    run_id = tracker.create_run("model", config={})
    log_model(tracker, run_id, module, name="manta-test", step=3)
    assert module.encoder.training  # the caller's module is as it was
    module.eval()
    found = log_model(
        tracker, run_id, module, name="manta-test", encoder_folder=folder, step=7, tags={"knn_top1": "0.9"}
    )
    assert (found.name, found.version, found.uri) == ("manta-test", "2", "models:/manta-test@candidate")
    version = tracker.client.get_model_version_by_alias("manta-test", "candidate")
    assert (str(version.version), version.run_id, version.tags["knn_top1"]) == ("2", run_id, "0.9")
    outputs = tracker.client.get_run(run_id).outputs.model_outputs
    assert sorted(output.step for output in outputs) == [3, 7]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    # A machine with a GPU asks for CUDA unless the model says otherwise, and then refuses a graph made on the CPU.
    monkeypatch.setenv("MLFLOW_DEFAULT_PREDICTION_DEVICE", "cuda")
    assert_model_serves(found.uri, module)

    local = download_model(tracker, found.uri, tmp_path / "download")
    requirements = (local / "requirements.txt").read_text()
    assert all(f"{package}==" in requirements for package in ("torch", "torchvision", "timm", "mlflow"))
    images = torch.randint(0, 256, (2, 40, 30, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(load_exported(local / "encoder")(images), module(images))
    with pytest.raises(TrackingError, match="cannot download models:/nothing@candidate"):
        download_model(tracker, "models:/nothing@candidate", tmp_path / "none")


def test_a_model_goes_round_through_a_server(
    server: Server, exported: tuple[ExportedEncoder, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, folder = exported
    module.eval()
    tracker = Tracker(server.uri, runs_dir=tmp_path)
    run_id = tracker.create_run("model", config={})
    found = log_model(tracker, run_id, module, name="served", encoder_folder=folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert_model_serves(found.uri, module)
    assert (server.folder / "artifacts").is_dir()


def test_an_encoder_that_cannot_be_traced_is_one_line(tracker: Tracker) -> None:
    class Capricious(Encoder):
        embed_dim = 3

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum().item() > 0 else x.amax((2, 3))

    module = ExportedEncoder(Capricious(), 32, (0, 0, 0), (1, 1, 1))
    run_id = tracker.create_run("untraceable", config={})
    with pytest.raises(TrackingError, match="cannot be exported as a graph") as caught:
        log_model(tracker, run_id, module, name="untraceable")
    assert "\n" not in str(caught.value)
