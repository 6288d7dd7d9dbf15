"""A worker's loop in this process: on images in memory, without Ray and without MLflow."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from ray.exceptions import RayTaskError
from sklearn.datasets import load_digits

from manta.config import Experiment, from_mapping
from manta.data import LabelledBatch, Manifest, RankBatch, Shard
from manta.errors import ConfigError, RunError
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.training import loop
from manta.training.loop import Worker, train_loop
from manta.training.mistakes import as_mistake
from manta.training.task import Task

DIGITS = load_digits()
ROWS, SIZE = 256, 16
PIXELS = torch.from_numpy(DIGITS.images[:ROWS].astype(np.float32) * 15).to(torch.uint8)
IMAGES = PIXELS.repeat_interleave(2, 1).repeat_interleave(2, 2).unsqueeze(1).expand(-1, 3, -1, -1)
LABELS = torch.from_numpy(DIGITS.target[:ROWS])


class ImagesInMemory:
    """An image source of the digits above."""

    def batches(self, plan, *, rank: int, world: int, start: int, stop: int):
        def stream() -> Iterator[RankBatch]:
            for step in range(start, stop):
                rows = torch.as_tensor(np.random.default_rng(step).integers(0, ROWS, 32))
                yield RankBatch(step=step, data={"image": IMAGES[rows].contiguous()}, index=rows)

        return stream()

    def read(self, rows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        for part in np.array_split(rows.indexes, max(len(rows.indexes) // 64, 1)):
            index = torch.as_tensor(part.copy())
            yield LabelledBatch({"image": IMAGES[index].contiguous()}, index, LABELS[index])


@pytest.fixture
def dataset(tmp_path) -> str:
    manifest = Manifest(
        location="", rows=ROWS, labelled=True, classes=None, shards=[Shard("s", ROWS, [ROWS], 0)],
        sizes={}, mean=[], std=[], moment_rows=0, source="digits", kind="digits", quarantined=0,
        digest="0", bytes=0,
    )  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text(manifest.to_json())
    return str(tmp_path / "data")


@pytest.fixture
def task(tmp_path, dataset) -> Task:
    experiment = from_mapping(
        {
            "data": {"source": "digits", "image_size": SIZE},
            "encoder": {"name": "resnet10t", "stem": "small"},
            "objective": {"name": "dcl"},
            "train": {"epochs": 0.75, "batch_size": 32, "precision": "float32", "log_every": 2},
            "evaluation": {
                "holdout": 0.25,
                "evaluators": [{"name": "knn", "k": 5, "every": 0.375}, {"name": "rank"}],
            },
            "watch": {"every": 2},
        }
    )
    folder = RunFolder(str(tmp_path / "run"))
    return Task(
        experiment=experiment, dataset=dataset, folder=folder.url,
        attempt=Lease.take(folder).attempt, run_id="", tracking_uri="", started=0.0, threads=1,
        executor="local", device="cpu",
    )  # fmt: skip


def worker_of(task: Task) -> Worker:
    return Worker(task, ImagesInMemory())


def test_a_run_trains_evaluates_and_leaves_what_the_report_wants(task, tmp_path):
    result = worker_of(task).run()
    assert (result["steps"], result["total_steps"], result["stopped"]) == (5, 5, None)
    assert result["epochs"] == pytest.approx(5 / 6)
    assert {"knn_top1", "random_knn_top1", "rankme", "random_rankme"} <= set(result["metrics"])
    assert 0.3 < result["metrics"]["random_knn_top1"] <= 1
    assert 0.1 < result["metrics"]["floor_knn_top1"] < result["metrics"]["random_knn_top1"]
    assert result["metrics_pending"] == 0
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert (evaluation["step"], evaluation["bank_rows"], evaluation["query_rows"]) == (5, 192, 64)
    assert evaluation["metrics"] == result["metrics"]
    assert evaluation["floor"] == "colour histograms"
    views = np.load(tmp_path / "run/artifacts/views.npz")
    assert views["source"].shape == (8, SIZE, SIZE, 3)
    assert {"view_0", "view_1"} <= set(views.files)
    samples = np.load(tmp_path / "run/artifacts/samples.npz")
    assert samples["thumbnails"].shape[0] == len(samples["labels"]) == len(samples["features"])


def test_one_training_validates_its_experiment_once(task, monkeypatch):
    tree, validations = task.experiment.model_dump(mode="json"), []
    validate = Experiment.model_validate

    def counted(*words, **options):
        validations.append(1)
        return validate(*words, **options)

    monkeypatch.setattr(Experiment, "model_validate", counted)
    monkeypatch.setattr(Experiment, "__init__", lambda *_, **__: validations.append(1))
    experiment = from_mapping(tree)
    travelled = pickle.loads(pickle.dumps(replace(task, experiment=experiment)))
    assert travelled.experiment == experiment
    assert travelled.experiment.fingerprint() == task.experiment.fingerprint()
    worker_of(travelled).run()
    assert len(validations) == 1


def test_evaluations_are_due_at_their_cadence_and_the_last_step_is_left_to_the_end(task):
    assert [rung.step for rung in worker_of(task).train()] == [3]


def test_a_trial_evaluates_at_its_last_step_and_saves_no_sheet(task, tmp_path):
    trial = replace(
        task,
        saves_views=False,
        evaluates_untrained=False,
        evaluates_last_step=True,
    )
    rungs = list(worker_of(trial).train())
    assert [rung.step for rung in rungs] == [3, 5]
    assert all("knn_top1" in rung.metrics for rung in rungs)
    assert not any(name.startswith("random_") for rung in rungs for name in rung.metrics)
    assert not (tmp_path / "run/artifacts/views.npz").exists()


def test_the_first_evaluation_of_a_run_measures_the_untrained_encoder_once(task):
    tree = task.experiment.model_dump(mode="json")
    tree["evaluation"]["evaluators"][0]["every"] = 1 / 6
    rungs = list(worker_of(replace(task, experiment=from_mapping(tree))).train())
    assert ["random_knn_top1" in rung.metrics for rung in rungs] == [True, False, False, False]


def test_a_run_that_goes_on_ends_with_the_weights_of_one_that_was_never_stopped(task, tmp_path):
    folder = RunFolder(str(tmp_path / "whole"))
    attempt = Lease.take(folder).attempt
    whole = worker_of(replace(task, folder=folder.url, attempt=attempt))
    whole.run()
    first = worker_of(task)
    steps = first.train()
    assert next(steps).step == 3
    steps.close()
    first.checkpoints.wait()
    second = worker_of(task)
    second.run()
    states = (whole.step.objective.state_dict(), second.step.objective.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_checkpoint_of_another_experiment_is_refused(task):
    worker_of(task).run()
    tree = task.experiment.model_dump(mode="json")
    tree["objective"]["temperature"] = 0.5
    other = worker_of(replace(task, experiment=from_mapping(tree)))
    with pytest.raises(RunError, match="was trained with another configuration"):
        other.run()


def test_a_collapse_is_a_result_with_its_diagnosis(task):
    tree = task.experiment.model_dump(mode="json")
    tree["watch"] |= {"every": 1, "min_rank": 1000, "patience": 2}
    result = worker_of(replace(task, experiment=from_mapping(tree))).run()
    assert result["stopped"]["diagnosis"] == "collapsed"
    assert (result["steps"], result["metrics"]) == (2, {})


def test_what_the_user_must_mend_is_returned_so_that_ray_does_not_try_again(task, monkeypatch):
    def refuse(*_words):
        raise ConfigError("no")

    monkeypatch.setattr(loop, "build_objective", refuse)
    told = {"kind": "ConfigError", "message": "no", "trace": None}
    assert train_loop(task) == {"error": told}


def test_a_mistake_before_the_first_step_is_returned_with_its_trace(task, monkeypatch):
    def forward(_self, _batch, _progress):
        return {}["no such key"]

    monkeypatch.setattr(loop, "StreamedRows", lambda *_words: ImagesInMemory())
    monkeypatch.setattr(type(worker_of(task).step.objective), "forward", forward)
    error = train_loop(task)["error"]
    here = f"{__file__}:{forward.__code__.co_firstlineno + 1}"
    assert error["message"] == f"KeyError: 'no such key' ({here})"
    assert error["kind"] == "Mistake"
    assert "Traceback" in error["trace"]


def test_a_mistake_after_a_step_is_left_to_ray(task, monkeypatch):
    monkeypatch.setattr(loop, "StreamedRows", lambda *_words: ImagesInMemory())
    objective = type(worker_of(task).step.objective)
    forward = objective.forward

    def fail_later(self, batch, progress):
        return forward(self, batch, progress) if progress.step == 0 else {}["no such key"]

    monkeypatch.setattr(objective, "forward", fail_later)
    with pytest.raises(KeyError, match="no such key"):
        train_loop(task)


@pytest.mark.parametrize(
    "error",
    [
        OSError("the share is away"),
        MemoryError(),
        RuntimeError("Connection closed by peer"),
        RayTaskError("read", "Traceback", ValueError("x")).as_instanceof_cause(),
    ],
)
def test_what_may_be_well_at_the_next_start_is_no_mistake(error):
    assert as_mistake(error) is None
