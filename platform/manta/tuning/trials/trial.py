"""One trial: a run of the recipe with some values changed, which ends when the scheduler says so.

With one worker it trains in its own actor, which then takes the next trial; with several it is a
Ray Train run.
"""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import torch
from ray import tune

from manta.config import Experiment, from_mapping
from manta.data import Manifest, open_dataset
from manta.errors import TrackingError, TrainingStopped
from manta.evaluation.online import due_evaluators
from manta.materials.make import provide
from manta.memory import release_freed_memory
from manta.runs.build import plan_of, total_steps
from manta.runs.checkpoint import Checkpoints
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.runs.materials import reuse
from manta.tracking import Tracker
from manta.training.images import Shared
from manta.training.loop import Worker
from manta.training.task import Rung, Task
from manta.tuning.space.read import Space
from manta.tuning.study.metrics import metric, with_evaluators
from manta.tuning.study.settings import Unit
from manta.tuning.study.storage import REPEATED, RESOURCE
from manta.tuning.trials.group import Group
from manta.tuning.trials.resume import RUNGS, Start, resumed, taken_over

_log = logging.getLogger(__name__)

OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "can't allocate memory")
POINTER = "manta.json"
SERVER_SECONDS = 120.0
"""How long a trial that begins waits for a tracking server that is away."""
DRAIN_SECONDS = 5.0
"""How long a trial that ended waits for the tracking server to take its last metrics."""


@dataclass(frozen=True, slots=True)
class StudyTask:
    """What every trial of a study is told.

    Attributes:
        components: of the user's own, which are registered on arrival.
        recipe: the experiment that the space varies, as plain data.
        dataset: location of the ingested dataset.
        folder: URL of the folder that trials have theirs in.
        metrics: names, first first.
        compare: further metrics, which a whole trial ends with.
        unit, every, whole: of the resource; between evaluations; of a whole trial.
        shared: decoded rows for all trials; None: each streams its own.
        workers, cpus, gpus, threads: of a trial.
        memory: bytes that its process may add to what it has at the start.
        keep: checkpoints of a running trial.
    """

    name: str
    components: tuple[Any, ...]
    recipe: dict[str, Any]
    space: Space
    dataset: str
    folder: str
    metrics: list[str]
    compare: list[str]
    unit: Unit
    every: int
    whole: int
    tracking_uri: str
    tracking_experiment: str
    parent_run: str
    shared: Shared | None
    workers: int
    cpus: float
    gpus: float
    threads: int
    memory: int | None
    keep: int

    def experiment(self, drawn: Mapping[str, Any] | None, manifest: Manifest) -> Experiment:
        """The trial's own: the recipe's with the drawn values (None: as it is), the study's budget
        and metrics."""
        recipe = from_mapping(self.recipe)
        experiment = recipe if drawn is None else self.space.apply(recipe, drawn)
        per_epoch = plan_of(experiment, manifest).steps_per_epoch
        in_epochs = 1.0 if self.unit == "epochs" else 1 / per_epoch
        # Half a step less, since steps are rounded up.
        epochs = float(self.whole) if self.unit == "epochs" else (self.whole - 0.5) / per_epoch
        train = experiment.train.model_copy(update={"epochs": epochs, "keep_last": self.keep})
        experiment = experiment.model_copy(update={"train": train})
        chosen = [metric(name) for name in self.metrics]
        measured = with_evaluators(experiment, chosen, every=self.every * in_epochs)
        known = {one.evaluator for one in chosen}
        others = [one for one in map(metric, self.compare) if one.evaluator not in known]
        at_end = with_evaluators(
            experiment, others, every=self.whole * in_epochs
        ).evaluation.evaluators
        evaluation = measured.evaluation.model_copy(
            update={"evaluators": [*measured.evaluation.evaluators, *at_end]}
        )
        return measured.model_copy(update={"evaluation": evaluation})


class StudyTrial(tune.Trainable):
    """What Ray Tune drives. Config: `number` and `drawn` (parameter name -> value, or None for the
    recipe as it is)."""

    def setup(self, config: dict[str, Any], *, task: StudyTask) -> None:
        self.task = task
        if task.memory is not None:
            used = psutil.Process().memory_info().vms
            resource.setrlimit(
                resource.RLIMIT_AS, (used + task.memory, resource.getrlimit(resource.RLIMIT_AS)[1])
            )
        self.attempt = Attempt(task, config["number"], config["drawn"])

    def step(self) -> dict[str, Any]:
        return self.attempt.step()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.attempt.close()
        if self.attempt.out_of_memory:  # or the next trial would fail for it
            release_freed_memory()
        self.attempt = Attempt(self.task, new_config["number"], new_config["drawn"])
        return True

    def cleanup(self) -> None:
        self.attempt.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """A pointer: Manta's own checkpoint is on disk."""
        Path(checkpoint_dir, POINTER).write_text(json.dumps(self.attempt.pointer()))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Its own after a pause; another trial's where PBT copies a better one."""
        self.attempt.take_over(json.loads(Path(checkpoint, POINTER).read_text()))


class Attempt:
    """One trial in this process: opened at its first step, closed at its end or when it is
    stopped."""

    def __init__(self, task: StudyTask, number: int, drawn: Mapping[str, Any] | None) -> None:
        self.task, self.number, self.drawn = task, number, drawn
        self.folder = RunFolder(f"{task.folder}/{number:04d}")
        self.results: list[dict[str, Any]] = []
        self.worker: Worker | Group | None = None
        self.run_id: str | None = None
        self.out_of_memory = False
        self._started, self._before = time.monotonic(), 0.0
        self._source: dict[str, Any] | None = None
        self._rungs: Generator[dict[str, Any]] | None = None
        self._open_things = ExitStack()

    def step(self) -> dict[str, Any]:
        """Train to the next evaluation. A trial that fails says why in its result: the study goes
        on."""
        try:
            if self._rungs is None:
                self._rungs = self._advance()
            return next(self._rungs)
        except StopIteration:  # its last step had been reported before its process died
            return (
                self.results[-1] | {"done": True}
                if self.results
                else self._failed("it was never evaluated")
            )
        except TrainingStopped as error:
            return self._failed(f"{error.diagnosis}: {error}")
        except Exception as error:
            text = " ".join(str(error).split())
            self.out_of_memory = isinstance(error, MemoryError) or any(
                sign in text.lower() for sign in OUT_OF_MEMORY
            )
            kind = "out of memory" if self.out_of_memory else type(error).__name__
            return self._failed(f"{kind}: {text if len(text) <= 300 else f'{text[:300]}...'}")

    def close(self) -> None:
        """Let go of everything, whatever happens: what goes wrong here is not the next trial's
        fault.

        What was trained stays in the folder; of a trial that was stopped, the checkpoint that is
        being written may be removed meanwhile.
        """
        try:
            if self._rungs is not None:
                self._rungs.close()
            self._open_things.close()
        except Exception as error:
            _log.warning("trial %d was not closed properly: %s", self.number, error)
        self.worker = self._rungs = None

    def pointer(self) -> dict[str, Any]:
        """Where this trial stands, for another to go on from."""
        if isinstance(self.worker, Worker):
            self.worker.checkpoints.wait()
        return {
            "folder": self.folder.url,
            "step": self.results[-1]["step"],
            "results": self.results,
        }

    def take_over(self, pointer: dict[str, Any]) -> None:
        self.close()
        self._source = pointer

    def _advance(self) -> Generator[dict[str, Any]]:
        self._started = time.monotonic()
        lease = Lease.take(
            self.folder
        )  # before anything is read: an attempt that lives on writes no more
        manifest = open_dataset(self.task.dataset)
        start = self._start(manifest)
        self.drawn, self._before, self.results = start.drawn, start.seconds, start.results
        for number, result in enumerate(start.past, start=1):
            self.results.append(result)
            yield result if number == len(start.past) else result | {REPEATED: True}
        if self.results and self.results[-1]["done"]:
            return
        experiment = self.task.experiment(self.drawn, manifest)
        plan = plan_of(experiment, manifest)
        total = total_steps(experiment, plan)
        self.worker = worker = self._worker(experiment, lease)
        unreported = (
            [] if start.source is not None else self._unreported(experiment, plan.steps_per_epoch)
        )
        with closing(worker.train(start.source)) as rungs:
            for rung in chain(unreported, rungs):
                self.results.append(self._result(rung, total, plan.steps_per_epoch))
                self.folder.write_json(self.results, RUNGS)
                yield self.results[-1]

    def _start(self, manifest: Manifest) -> Start:
        if self._source is not None:
            return taken_over(self.folder, self._source, self.drawn)
        return resumed(
            self.folder,
            self.drawn,
            lambda drawn: self.task.experiment(drawn, manifest).fingerprint(),
        )

    def _unreported(self, experiment: Experiment, per_epoch: int) -> list[Rung]:
        """The rung of the newest checkpoint, where a kill came between that and its report."""
        newest = Checkpoints(self.folder, None).latest()
        last: dict[str, Any] = self.results[-1] if self.results else {"step": 0, "values": {}}
        if newest is None or newest.step <= last["step"]:
            return []
        due = due_evaluators(
            experiment.evaluation, epoch=newest.step / per_epoch, span=1 / per_epoch
        )
        return [Rung(newest.step, last["values"] | newest.metrics)] if due else []

    def _worker(self, experiment: Experiment, lease: Lease) -> Worker | Group:
        """Built, with its run in MLflow and its folder; closed by `close`."""
        task = self.task
        tracker = Tracker(task.tracking_uri, task.tracking_experiment)
        self.run_id = self._open_run(experiment, tracker)
        self.folder.write(experiment.to_yaml().encode(), "experiment.yaml")
        self._provide(experiment, tracker)
        order = Task(
            experiment=experiment.model_dump(mode="json"),
            dataset=task.dataset,
            folder=self.folder.url,
            attempt=lease.attempt,
            run_id=self.run_id,
            tracking_uri=tracker.uri,
            started=time.time(),
            threads=task.threads,
            decode_tasks=1,
            device=None
            if task.workers > 1
            else "cuda"
            if task.gpus and torch.cuda.is_available()
            else "cpu",
            trial=True,
            components=task.components,
        )
        shared = task.shared
        if shared is not None and shared.cache.size != experiment.data.canonical_size:
            shared = None  # this trial's images are of another size
        if task.workers > 1:
            return Group(order, shared, workers=task.workers, cpus=task.cpus, gpus=task.gpus)
        worker = Worker(order, shared)
        self._open_things.callback(worker.close, DRAIN_SECONDS)
        self._open_things.callback(worker.checkpoints.wait)
        self._open_things.enter_context(worker.sampling())
        return worker

    def _provide(self, experiment: Experiment, tracker: Tracker) -> None:
        """What the objective needs before its first step: the study's, or this trial's own where it
        drew another."""
        study = RunFolder(self.task.folder.rsplit("/", 1)[0])
        reuse(experiment, self.folder, study)
        runs = study.url.rsplit("/", 1)[0]
        manifest = open_dataset(self.task.dataset)
        provide(experiment, manifest, self.folder, tracker, runs=runs, notify=_log.info)

    def _open_run(self, experiment: Experiment, tracker: Tracker) -> str:
        """The trial's run in MLflow, a child of the study's: the one that it had, or a new one."""
        if self.folder.exists("run.json"):
            run_id = str(self.folder.read_json("run.json")["run_id"])
            with suppress(TrackingError):  # its metrics wait in the folder until the server is back
                tracker.resume(run_id)
            return run_id
        self._await_server(tracker)
        run_id = tracker.create_run(
            f"{self.task.name}-{self.number:04d}",
            config=experiment.model_dump(mode="json"),
            tags={"manta.study": self.task.name, "manta.trial": str(self.number)},
            parent=self.task.parent_run,
        )
        facts = {
            "name": f"{self.task.name}/trials/{self.number:04d}",
            "run_id": run_id,
            "status": "running",
        }
        self.folder.write_json(
            facts | {"dataset": self.task.dataset, "tracking_uri": tracker.uri}, "run.json"
        )
        return run_id

    def _await_server(self, tracker: Tracker) -> None:
        """A server that restarts must not cost the trials that begin meanwhile."""
        while time.monotonic() - self._started < SERVER_SECONDS:
            try:
                _ = tracker.experiment_id
                return
            except TrackingError:
                time.sleep(2)

    def _result(self, rung: Rung, total: int, per_epoch: int) -> dict[str, Any]:
        values = {name: value for name, value in rung.metrics.items() if value == value}
        epochs = rung.step / per_epoch
        return {
            RESOURCE: rung.step if self.task.unit == "steps" else round(epochs),
            "step": rung.step,
            "epochs": epochs,
            "seconds": self._seconds(),
            **self._times(),
            "run_id": self.run_id,
            "drawn": self.drawn,
            "values": values,
            "done": rung.step >= total,
            **{name: values[name] for name in self.task.metrics if name in values},
        }

    def _times(self) -> dict[str, float]:
        """What of the seconds of this attempt went into steps and into evaluations; the rest is
        overhead."""
        if not isinstance(self.worker, Worker):
            return {}
        clock = self.worker.clock
        return {"training_seconds": clock.busy, "evaluation_seconds": clock.away}

    def _seconds(self) -> float:
        """Spent on this trial, in earlier attempts too."""
        return self._before + time.monotonic() - self._started

    def _failed(self, reason: str) -> dict[str, Any]:
        last = self.results[-1] if self.results else {}
        known = {key: last[key] for key in (RESOURCE, "epochs") if key in last}
        return known | {
            "seconds": self._seconds(),
            "values": last.get("values", {}),
            "run_id": self.run_id,
            "failed": reason,
            "done": True,
        }
