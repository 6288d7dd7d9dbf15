"""An attempt at a trial, in the process that runs it: opened, trained rung by rung, closed."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from manta.config import Experiment
from manta.data import Manifest, open_dataset
from manta.errors import TrackingError, TrainingStopped
from manta.evaluation.online import due_evaluators
from manta.runs.build import decoder_of, plan_of, total_steps
from manta.runs.checkpoint import Checkpoints
from manta.runs.lease import Lease
from manta.runs.materials import reuse
from manta.tracking import Tracker
from manta.training.loop import Worker
from manta.training.start import opened_for_trial, tags
from manta.training.task import Rung, Task
from manta.tuning.study.folders import TRIALS, trial_folder, trial_name
from manta.tuning.study.rung_result import RungResult
from manta.tuning.trials.failures import error_reason, is_out_of_memory
from manta.tuning.trials.group import Group
from manta.tuning.trials.resume import RUNGS, Start, resumed, taken_over
from manta.tuning.trials.study_task import StudyTask
from manta.workshop.prepare import prepare_materials

_log = logging.getLogger(__name__)

SERVER_SECONDS = 120.0
"""How long a trial that begins waits for a tracking server that is away."""
DRAIN_SECONDS = 5.0
"""How long a trial that ended waits for the tracking server to take its last metrics."""


class Attempt:
    """One trial in this process.

    It is opened at its first step, and closed at its end or when it is stopped.
    """

    def __init__(self, task: StudyTask, number: int, drawn: Mapping[str, Any] | None) -> None:
        self.task, self.number, self.drawn = task, number, drawn
        self.folder = trial_folder(task.study, number)
        self.results: list[RungResult] = []
        self.worker: Worker | Group | None = None
        self.run_id: str | None = None
        self.out_of_memory = False
        self._started, self._before = time.monotonic(), 0.0
        self._source: dict[str, Any] | None = None
        self._rungs: Generator[RungResult] | None = None
        self._open_things = ExitStack()

    def step(self) -> RungResult:
        """Train to the next evaluation. Returns its result.

        A trial that fails says why in its result and raises nothing: the study goes on.
        """
        try:
            if self._rungs is None:
                self._rungs = self._advance()
            return next(self._rungs)
        except StopIteration:
            # Its last step had been reported before its process died.
            if self.results:
                return replace(self.results[-1], done=True)
            return self._failed("it was never evaluated")
        except TrainingStopped as error:
            return self._failed(f"{error.diagnosis}: {error}")
        except Exception as error:
            self.out_of_memory = is_out_of_memory(error)
            return self._failed(error_reason(error, self.folder))

    def close(self) -> None:
        """Close everything that is open.

        Nothing is raised: what goes wrong here is not the next trial's fault. What was trained
        stays in the folder; of a trial that was stopped, the checkpoint that is being written may
        be removed meanwhile.
        """
        try:
            # The generator first: it leaves the training loop, and what the loop uses is closed
            # after it.
            if self._rungs is not None:
                self._rungs.close()
            self._open_things.close()
        except Exception as error:
            _log.warning("trial %d was not closed properly: %s", self.number, error)
        self.worker = self._rungs = None

    def pointer(self) -> dict[str, Any]:
        """Return where this trial stands, as plain data, for another to go on from."""
        if isinstance(self.worker, Worker):
            self.worker.checkpoints.wait()
        return {
            "folder": self.folder.url,
            "step": self.results[-1].step,
            "results": [result.to_plain() for result in self.results],
        }

    def take_over(self, pointer: dict[str, Any]) -> None:
        """Go on, at the next step, from where a pointer leads."""
        self.close()
        self._source = pointer

    def _advance(self) -> Generator[RungResult]:
        """Yield the results of the trial, those of earlier attempts first."""
        self._started = time.monotonic()
        # Before anything is read: an earlier attempt that is still alive writes no more from here
        # on, so that what is read stays true.
        lease = Lease.take(self.folder)
        manifest = open_dataset(self.task.dataset)
        start = self._start(manifest)
        # Before the experiment is made: a resume may have other values than the study's database.
        self.drawn, self._before, self.results = start.drawn, start.seconds, start.results
        for number, result in enumerate(start.past, start=1):
            self.results.append(result)
            # Tune has heard these, and they decide nothing a second time. The last is not marked:
            # the process may have died before Tune heard it.
            yield replace(result, repeated=number < len(start.past))
        if self.results and self.results[-1].done:
            return
        experiment = self.task.experiment(self.drawn, manifest)
        plan = plan_of(experiment, manifest)
        total = total_steps(experiment, plan)
        self.worker = worker = self._worker(experiment, manifest, lease)
        # Read before training, which writes newer checkpoints. Weights that were copied from
        # another trial have their rungs already.
        copied = start.source is not None
        unreported = [] if copied else self._unreported(experiment, plan.steps_per_epoch)
        with closing(worker.train(start.source)) as rungs:
            for rung in chain(unreported, rungs):
                result = self._result(rung, total, plan.steps_per_epoch)
                if result.done and isinstance(worker, Worker):
                    # A trial is complete with its last checkpoint; a full disk shows here.
                    worker.checkpoints.wait()
                self.results.append(result)
                # Before it is yielded: after a kill a resume counts on what Tune has heard.
                self.folder.write_json([result.to_plain() for result in self.results], RUNGS)
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
        """Return the rung of the newest checkpoint, if a kill came before its report."""
        newest = Checkpoints(self.folder, None).latest()
        last = self.results[-1] if self.results else RungResult()
        if newest is None or newest.step <= last.step:
            return []
        due = due_evaluators(
            experiment.evaluation, epoch=newest.step / per_epoch, span=1 / per_epoch
        )
        return [Rung(newest.step, {**last.values, **newest.metrics})] if due else []

    def _worker(self, experiment: Experiment, manifest: Manifest, lease: Lease) -> Worker | Group:
        """Build the worker, with its run in MLflow and its folder; `close` closes them."""
        task, resources = self.task, self.task.resources
        tracker = Tracker(task.tracking_uri, task.tracking_experiment)
        with opened_for_trial(
            experiment, task.runs, task.study, self.folder, manifest.stats
        ) as start:
            self.run_id = self._open_run(experiment, tracker, tags(start.record))
            self.folder.write(experiment.to_yaml().encode(), "experiment.yaml")
            start.write(self.folder)
            # What the objective needs before its first step: the study's, or this trial's own where
            # it drew another.
            reuse(experiment, self.folder, task.study)
            prepare_materials(
                experiment,
                manifest,
                self.folder,
                tracker,
                runs=task.runs,
                notify=_log.info,
                at_hand=start.at_hand,
            )
        gpu = resources.gpus > 0 and torch.cuda.is_available()
        order = Task(
            experiment=experiment,
            dataset=task.dataset,
            folder=self.folder.url,
            attempt=lease.attempt,
            run_id=self.run_id,
            tracking_uri=tracker.uri,
            started=time.time(),
            threads=resources.threads,
            decode_tasks=1,
            # Ray Train gives each of several workers its own.
            device=None if resources.workers > 1 else "cuda" if gpu else "cpu",
            saves_views=False,
            evaluates_untrained=False,
            evaluates_last_step=True,
            components=task.components,
        )
        shared = task.shared
        if shared is not None and shared.cache.decoder != decoder_of(experiment, manifest):
            shared = None  # this trial's rows are decoded in another way
        if resources.workers > 1:
            return Group(order, shared, resources)
        worker = Worker(order, shared)
        # Left in reverse order: sampling ends, the last checkpoint is written, the worker closes.
        self._open_things.callback(worker.close, DRAIN_SECONDS)
        self._open_things.callback(worker.checkpoints.wait)
        self._open_things.enter_context(worker.sampling())
        return worker

    def _open_run(
        self, experiment: Experiment, tracker: Tracker, of_start: Mapping[str, str]
    ) -> str:
        """Return the trial's run in MLflow, a child of the study's: an earlier or a new one."""
        if self.folder.exists("run.json"):
            run_id = str(self.folder.read_json("run.json")["run_id"])
            with suppress(TrackingError):  # its metrics wait in the folder until the server is back
                tracker.resume(run_id)
            return run_id
        self._await_server(tracker)
        study, number = self.task.study.name, trial_name(self.number)
        run_id = tracker.create_run(
            f"{study}-{number}",
            config=experiment.model_dump(mode="json"),
            tags={"manta.study": study, "manta.trial": str(self.number), **of_start},
            parent=self.task.parent_run,
        )
        run = {
            "name": f"{study}/{TRIALS}/{number}",
            "run_id": run_id,
            "status": "running",
            "dataset": self.task.dataset,
            "tracking_uri": tracker.uri,
        }
        self.folder.write_json(run, "run.json")
        return run_id

    def _await_server(self, tracker: Tracker) -> None:
        """Wait for a server that restarts, which must not cost the trials that begin meanwhile."""
        while time.monotonic() - self._started < SERVER_SECONDS:
            try:
                _ = tracker.experiment_id
                return
            except TrackingError:
                time.sleep(2)

    def _result(self, rung: Rung, total: int, per_epoch: int) -> RungResult:
        epochs = rung.step / per_epoch
        training, evaluation = self._times()
        return RungResult(
            resource=rung.step if self.task.budget.unit == "steps" else round(epochs),
            step=rung.step,
            epochs=epochs,
            seconds=self._seconds(),
            training_seconds=training,
            evaluation_seconds=evaluation,
            run_id=self.run_id,
            drawn=self.drawn,
            # Without NaN, which is no number to compare by.
            values={name: value for name, value in rung.metrics.items() if value == value},
            done=rung.step >= total,
        )

    def _times(self) -> tuple[float | None, float | None]:
        """Return what steps and evaluations took of this attempt; the rest is overhead.

        Of several workers it is not known here.
        """
        if not isinstance(self.worker, Worker):
            return None, None
        return self.worker.clock.busy, self.worker.clock.away

    def _seconds(self) -> float:
        """Return the seconds spent on this trial, in earlier attempts too."""
        return self._before + time.monotonic() - self._started

    def _failed(self, reason: str) -> RungResult:
        last = self.results[-1] if self.results else RungResult()
        return RungResult(
            resource=last.resource,
            epochs=last.epochs,
            seconds=self._seconds(),
            run_id=self.run_id,
            values=last.values,
            done=True,
            failed=reason,
        )
