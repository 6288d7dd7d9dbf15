"""A trial in this process: on images in memory, with MLflow in a file, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from spaces import space_of

from manta.config import Experiment, from_mapping
from manta.data import LabelledBatch, Manifest, RankBatch, Shard
from manta.errors import DiskFull
from manta.modalities.image import ImageDecoder
from manta.runs.checkpoint import CheckpointManifest, Checkpoints
from manta.runs.folder import RunFolder
from manta.tracking import Tracker
from manta.tuning.study.folders import trial_folder
from manta.tuning.study.rung_result import RungResult
from manta.tuning.trials.allocate import TrialResources
from manta.tuning.trials.attempt import Attempt
from manta.tuning.trials.resume import RUNGS
from manta.tuning.trials.study_task import Budget, StudyTask

DIGITS = load_digits()
ROWS, SIZE = 256, 16
PIXELS = torch.from_numpy(DIGITS.images[:ROWS].astype(np.float32) * 15).to(torch.uint8)
IMAGES = PIXELS.repeat_interleave(2, 1).repeat_interleave(2, 2).unsqueeze(1).expand(-1, 3, -1, -1)
LABELS = torch.from_numpy(DIGITS.target[:ROWS])
STEPS_PER_EPOCH = 6  # 192 rows in batches of 32
WARM = {"objective.temperature": 0.3}


class ImagesInMemory:
    """The images that all trials of a study share."""

    cache = SimpleNamespace(decoder=ImageDecoder(SIZE))

    def batches(
        self, plan: Any, *, rank: int, world: int, start: int, stop: int
    ) -> Iterator[RankBatch]:
        for step in range(start, stop):
            rows = torch.as_tensor(np.random.default_rng(step).integers(0, ROWS, 32))
            yield RankBatch(step=step, data={"image": IMAGES[rows].contiguous()}, index=rows)

    def read(self, rows: Any, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        index = torch.as_tensor(np.array(rows.indexes))
        yield LabelledBatch({"image": IMAGES[index].contiguous()}, index, LABELS[index])


def recipe() -> Experiment:
    return from_mapping(
        {
            "data": {"source": "digits", "image_size": SIZE, "decode_size": SIZE},
            "encoder": {"name": "resnet10t", "stem": "small"},
            "objective": {"name": "dcl", "temperature": 0.2},
            "train": {"epochs": 20, "batch_size": 32, "precision": "float32"},
            "evaluation": {"holdout": 0.25, "evaluators": [{"name": "knn", "k": 5}]},
        }
    )


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyTask:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    manifest = Manifest(
        location="", rows=ROWS, labelled=True, classes=None, shards=[Shard("s", ROWS, [ROWS], 0)],
        sizes={}, mean=[], std=[], moment_rows=0, source="digits", kind="digits", quarantined=0,
        digest="0", bytes=0,
    )  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text(manifest.to_json())
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", "trials")
    images: Any = ImagesInMemory()
    return StudyTask(
        study=RunFolder(tmp_path / "runs/s"),
        runs=str(tmp_path / "runs"),
        components=(),
        recipe=recipe(),
        space=space_of(
            "objective.temperature: {type: float, low: 0.05, high: 1.0, log: true}", of=recipe()
        ),
        dataset=str(tmp_path / "data"),
        metrics=["knn_top1"],
        compare=["rankme"],
        budget=Budget("epochs", 1, 2),
        tracking_uri=tracker.uri,
        tracking_experiment=tracker.experiment,
        parent_run=tracker.create_run("s", config={}),
        shared=images,
        resources=TrialResources(1, {"CPU": 1.0}, 1, 1.0, 0.0, threads=1, memory=None),
        keep=2,
    )


class CountingValidator:
    """Stands before pydantic's validator of `Experiment` and counts its calls."""

    def __init__(self, validator: Any) -> None:
        self.validator, self.calls = validator, 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("validate"):
            self.calls += 1
        return getattr(self.validator, name)


@pytest.fixture
def validations(task: StudyTask, monkeypatch: pytest.MonkeyPatch) -> CountingValidator:
    counting = CountingValidator(Experiment.__pydantic_validator__)
    monkeypatch.setattr(Experiment, "__pydantic_validator__", counting)
    return counting


def test_a_trial_validates_its_configuration_once(
    task: StudyTask, validations: CountingValidator
) -> None:
    attempt = Attempt(task, 1, WARM)
    first = attempt.step()
    assert first.failed is None
    assert validations.calls == 1
    assert attempt.step().done
    attempt.close()
    assert validations.calls == 1
    from_mapping(recipe().model_dump(mode="json"))
    assert validations.calls == 3, "the recipe above was built, then validated again: it counts"


def test_a_trial_reports_rung_by_rung(task: StudyTask) -> None:
    attempt = Attempt(task, 1, WARM)
    first, last = attempt.step(), attempt.step()
    attempt.close()
    assert (first.resource, first.step, first.epochs, first.done) == (
        1,
        STEPS_PER_EPOCH,
        1.0,
        False,
    )
    assert (last.resource, last.step, last.done) == (2, 2 * STEPS_PER_EPOCH, True)
    assert (first.drawn, first.failed, first.repeated) == (WARM, None, False)
    assert 0 < first.values["knn_top1"] <= 1
    assert "rankme" not in first.values, "what is only compared is measured at the end"
    assert 1 <= last.values["rankme"] <= 512
    assert last.seconds is not None
    assert first.seconds is not None
    assert last.seconds > first.seconds > 0
    folder = trial_folder(task.study, 1)
    assert [RungResult.from_plain(one) for one in folder.read_json(RUNGS)] == [first, last]
    written = from_mapping(yaml.safe_load(folder.read("experiment.yaml")))
    assert written.objective.temperature == 0.3  # type: ignore[attr-defined]
    assert written.train.epochs == 2
    client = Tracker(task.tracking_uri, task.tracking_experiment).client
    run = client.get_run(str(first.run_id))
    assert run.data.tags["mlflow.parentRunId"] == task.parent_run
    assert run.data.tags["manta.trial"] == "1"
    assert run.data.params["objective.temperature"] == "0.3"


def test_an_attempt_goes_on_where_the_last_one_stopped(task: StudyTask) -> None:
    whole = Attempt(task, 0, WARM)
    expected = [whole.step(), whole.step()]
    whole.close()
    begun = Attempt(task, 1, WARM)
    first = begun.step()
    begun.close()
    resumed = Attempt(task, 1, None)  # the folder knows what was drawn
    assert resumed.step() == first
    last = resumed.step()
    resumed.close()
    assert last.drawn == WARM
    assert last.run_id == first.run_id, "one run in MLflow"
    assert (last.step, last.done) == (12, True)
    assert [one.values["knn_top1"] for one in (first, last)] == [
        one.values["knn_top1"] for one in expected
    ]
    again = Attempt(task, 1, None)
    assert [again.step(), again.step()] == [replace(first, repeated=True), last]
    assert again.step().done, "Tune may ask once more"
    again.close()


def test_a_trial_takes_another_ones_weights_over(task: StudyTask) -> None:
    donor = Attempt(task, 0, None)
    best = donor.step()
    pointer = donor.pointer()
    donor.close()
    assert (pointer["step"], pointer["results"]) == (STEPS_PER_EPOCH, [best.to_plain()])
    taker = Attempt(task, 1, WARM)
    taker.take_over(pointer)
    result = taker.step()
    taker.close()
    assert (result.step, result.drawn) == (12, WARM), "it trains on from the donor's step"
    rungs = [RungResult.from_plain(one) for one in trial_folder(task.study, 1).read_json(RUNGS)]
    assert rungs == [best, result]


def test_a_trial_that_fails_says_why_and_raises_nothing(task: StudyTask) -> None:
    attempt = Attempt(task, 1, {"objective.temperature": -1.0})
    result = attempt.step()
    attempt.close()
    assert result.failed == "ConfigError: objective.temperature: must stay above 0, but it is -1"
    assert (result.done, result.resource, result.values) == (True, None, {})
    assert not attempt.out_of_memory


def test_memory_that_is_out_is_called_so(task: StudyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(self: StudyTask, drawn: Any, manifest: Manifest) -> Experiment:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: " + "x" * 400)

    monkeypatch.setattr(StudyTask, "experiment", allocate)
    attempt = Attempt(task, 1, WARM)
    reason = attempt.step().failed
    attempt.close()
    assert attempt.out_of_memory
    assert reason is not None
    assert reason.startswith("out of memory: DefaultCPUAllocator")
    assert reason.endswith("xxx...")
    assert len(reason) < 330


def test_a_budget_of_steps_ends_at_its_step(task: StudyTask) -> None:
    attempt = Attempt(replace(task, budget=Budget("steps", 4, 8), compare=[]), 1, WARM)
    first, last = attempt.step(), attempt.step()
    attempt.close()
    assert [(one.resource, one.step, one.done) for one in (first, last)] == [
        (4, 4, False),
        (8, 8, True),
    ]


def test_a_last_checkpoint_without_room_fails_the_trial_which_goes_on_later(
    task: StudyTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, room = Checkpoints._commit, [False]

    def full(
        self: Checkpoints, contents: dict[str, bytes], manifest: CheckpointManifest, name: str
    ) -> None:
        if manifest.step == 2 * STEPS_PER_EPOCH and not room[0]:
            raise DiskFull("no room is left")
        commit(self, contents, manifest, name)

    monkeypatch.setattr(Checkpoints, "_commit", full)
    attempt = Attempt(task, 1, WARM)
    first, last = attempt.step(), attempt.step()
    attempt.close()
    assert first.failed is None
    assert str(last.failed).startswith("DiskFull: no room is left")
    room[0] = True
    again = Attempt(task, 1, None)
    repeated, ended = again.step(), again.step()
    again.close()
    assert repeated == first
    assert (ended.step, ended.done, ended.failed) == (2 * STEPS_PER_EPOCH, True, None)
    newest = Checkpoints(trial_folder(task.study, 1), None).latest()
    assert newest is not None
    assert newest.step == 2 * STEPS_PER_EPOCH
