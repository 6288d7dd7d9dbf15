"""Training loop of a worker: stream, step, log, check, evaluate, checkpoint."""

from __future__ import annotations

import contextlib
import resource
import zlib
from collections.abc import Generator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from manta.data import RankBatch, open_dataset
from manta.errors import MantaError, RunError, TrainingStopped
from manta.memory import keep_freed_memory
from manta.ragged import Data, moved, rows_of
from manta.runs.build import build_objective, plan_of, seed_everything, total_steps
from manta.runs.checkpoint import CheckpointManifest, Checkpoints, new_manifest, snapshot
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.runs.materials import local_paths
from manta.training.artifacts import save_evaluation, save_views
from manta.training.clock import Clock
from manta.training.evaluations import RunEvaluations
from manta.training.health import ROWS, CollapseMonitor, embed_plain
from manta.training.mistakes import as_mistake
from manta.training.ranks import Ranks, is_distributed
from manta.training.run_log import RunLog
from manta.training.step import TrainStep
from manta.training.supply import StreamedRows, Supply
from manta.training.task import Rung, Task

DRAIN_SECONDS = 20.0
"""Seconds that a finished run waits for the tracking server to accept the last metrics. What is not
sent by then stays in the run's file, and `metrics_pending` says how much that is."""


def train_loop(task: Task) -> dict[str, Any] | None:
    """Train and evaluate on one rank; return the run's numbers on rank 0.

    A stop by the collapse monitor is returned as a result and not raised. So is an error that the
    user must fix, and a mistake in a component that shows before the first step: Ray would retry a
    worker that raises, and the retry would fail in the same way.
    """
    worker: Worker | None = None
    try:
        worker = Worker(task)
        try:
            with worker.sampling():
                return worker.run()
        finally:
            worker.close()
    except MantaError as error:
        if is_distributed():
            raise  # Ray must stop the other ranks, which would wait for this one for ever
        return _told(error)
    except Exception as error:
        mistake = None if worker is not None and worker.has_stepped else as_mistake(error)
        if mistake is None:
            raise
        if is_distributed():
            raise mistake from error
        return _told(mistake)


class Worker:
    """One rank of a run.

    Args:
        supply: source of its rows; None: a stream of this worker's own.
    """

    def __init__(self, task: Task, supply: Supply | None = None) -> None:
        self.task = task
        self.experiment = task.experiment
        config = self.experiment.train
        self.ranks = Ranks.current()
        self.device = torch.device(task.device) if task.device is not None else _device()
        # Threads and the allocator come first: both must be set before torch computes anything.
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        # The same seed on every rank, before anything is drawn: all must build the same weights.
        seed_everything(config.seed)
        manifest = open_dataset(task.dataset)
        supply = supply or StreamedRows(manifest, self.experiment, task.executor, task.decode_tasks)
        self.supply = supply
        self.folder = RunFolder(task.folder)
        self.plan = plan_of(self.experiment, manifest)
        self.total_steps = total_steps(self.experiment, self.plan)
        materials = local_paths(self.experiment, self.folder)
        self.step = TrainStep(
            self.experiment,
            build_objective(self.experiment, manifest, materials).to(self.device),
            device=self.device,
            total_steps=self.total_steps,
            stats=manifest.stats,
        )
        lease = Lease(self.folder, task.attempt)
        self.checkpoints = Checkpoints(
            self.folder,
            lease,
            keep_last=config.keep_last,
            select=self.experiment.evaluation.select,
        )
        self.evaluations = RunEvaluations(
            self.experiment,
            manifest,
            self.plan,
            self.step,
            supply,
            with_untrained=task.evaluates_untrained,
        )
        self.monitor = CollapseMonitor(self.experiment.watch, self.experiment.modality().noun)
        self.clock = Clock(started=task.started)
        self.log = RunLog(self.folder, lease, task, rank=self.rank)
        self.last_metrics: dict[str, float] = {}
        self.skipped: dict[str, str] = {}
        self.first = self.done = 0

    @property
    def has_stepped(self) -> bool:
        """Return whether this process has done a step of its own."""
        return self.done > self.first

    @property
    def rank(self) -> int:
        """Return the number of this process among those of the run; only rank 0 writes."""
        return self.ranks.rank

    def run(self) -> dict[str, Any] | None:
        """Train from the newest checkpoint to the end and evaluate; return the run's numbers."""
        stopped: TrainingStopped | None = None
        try:
            for _ in self.train():
                pass
            self._save(self.done)
        except TrainingStopped as error:
            stopped = error
        # The last checkpoint must be complete before the evaluation, which can take minutes and may
        # be killed; a resume then has only the evaluation left.
        self.checkpoints.wait()
        metrics: dict[str, float] = {}
        if stopped is None and self.evaluations.possible:
            metrics = self._evaluate_at_the_end()
        return self._result(metrics, stopped)

    def train(
        self, source: tuple[Checkpoints, CheckpointManifest] | None = None
    ) -> Generator[Rung]:
        """Train to the last step, from the newest checkpoint or from one of another run.

        Args:
            source: the checkpoints of another run, and the one among them to start from.

        Yields:
            each evaluation during training, once its checkpoint is being written.

        Raises:
            TrainingStopped: the collapse monitor stopped the run.
        """
        self.first = self.done = self._restore() if source is None else self._take_over(*source)
        batches = self.supply.batches(
            self.plan,
            rank=self.rank,
            world=self.ranks.world,
            start=self.done,
            stop=self.total_steps,
        )
        with contextlib.closing(batches):
            for batch in batches:
                self.clock.batch_ready()
                terms = self.step(batch.data, batch.index, batch.step)
                self.clock.stepped()
                self.done = batch.step + 1
                metrics = self._after(batch, terms, self.done)
                if self.done == 1 and self.rank == 0 and self.task.saves_views:
                    save_views(self.folder, self.step, batch)
                self.clock.step_done(self.experiment.train.batch_size)
                if metrics is not None:
                    # The caller may take long over this rung, or never resume the generator, so
                    # everything about the step is finished and counted before.
                    yield Rung(self.done, metrics | self.clock.rates())
                    self.clock.go_on()

    def sampling(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which rank 0 logs the machine's load."""
        return self.log.sampling()

    def agreed(self, go_on: bool) -> bool:
        """Return the decision of rank 0, on every rank."""
        return self.ranks.from_first(go_on)

    def close(self, timeout: float = DRAIN_SECONDS) -> None:
        """Close the log; wait at most `timeout` seconds for the tracking server."""
        self.log.close(timeout)

    def _after(
        self, batch: RankBatch, terms: dict[str, Tensor], done: int
    ) -> dict[str, float] | None:
        """Log, check, evaluate and save as due after a step; return the evaluation's numbers.

        They are None if no evaluation was due.
        """
        config = self.experiment.train
        every = config.checkpoint_every or self.plan.steps_per_epoch
        saves = done % every == 0 and done < self.total_steps
        if done % config.log_every == 0 or saves or done in (1, self.total_steps):
            numbers = self.ranks.mean(terms, self.device)
            # Before the checkpoint is written: a resume would start from its NaN.
            self.monitor.check_finite(numbers, done)
            digest = float(zlib.crc32(batch.index.numpy().tobytes()) & 0xFFFFFF)
            self.log.write(done, numbers | self.clock.rates() | {"batch_digest": digest})
            self.last_metrics = numbers
        if self.monitor.due(done):
            self.log.write(done, self.monitor.check(self._features(batch.data), done))
        # Before the checkpoint is written: it records the metrics by which the best one is chosen.
        metrics = self._evaluate_if_due(done)
        if saves or metrics is not None:
            self._save(done)
        return metrics

    def _evaluate_if_due(self, done: int) -> dict[str, float] | None:
        """Return an evaluation's numbers, empty on ranks other than 0; None if none was due."""
        due = self.evaluations.due(done)
        left_to_run = done == self.total_steps and not self.task.evaluates_last_step
        if not due or left_to_run or not self.evaluations.possible:
            return None
        metrics: dict[str, float] = {}
        with self.clock.paused():
            features = self.evaluations.embed(due, final=False)
            if features is not None:
                measured = features.measure(due)
                if measured.failures and self.task.evaluates_last_step:
                    # A study judges its trials by these numbers: without them this one has failed.
                    raise next(iter(measured.failures.values()))
                metrics = measured.metrics
                self.log.write(done, metrics, force=True)
                self.last_metrics = self.last_metrics | metrics
        return metrics

    def _evaluate_at_the_end(self) -> dict[str, float]:
        """Run every evaluator on all rows and save the results; return the numbers on rank 0."""
        evaluators = self.evaluations.all()
        features = self.evaluations.embed(evaluators, final=True)
        if features is None:
            return {}
        measured = features.measure(evaluators)
        self.skipped = measured.skipped
        self.log.write(self.done, measured.metrics, force=True)
        classes = self.evaluations.manifest.classes
        save_evaluation(
            self.folder, self.experiment, features, measured, step=self.done, classes=classes
        )
        self.log.mirror()
        return measured.metrics

    def _restore(self) -> int:
        """Load the newest complete checkpoint; return the number of steps done."""
        newest = self.checkpoints.latest()
        if newest is None:
            # An attempt that ended before its first checkpoint may have logged steps already, which
            # are now trained again.
            self.log.rewind(0)
            return 0
        expected = self.experiment.fingerprint()
        if newest.fingerprint != expected:
            raise RunError(
                f"run {self.folder.name!r} was trained with another configuration "
                f"({newest.fingerprint}, now {expected}); resume it without overrides, or start a "
                "run of another --name"
            )
        return self._take_over(self.checkpoints, newest)

    def _take_over(self, checkpoints: Checkpoints, checkpoint: CheckpointManifest) -> int:
        """Load a checkpoint, possibly of another run; return the number of steps done."""
        checkpoints.load(checkpoint).restore(self.step.objective, self.step.optimizer)
        self.last_metrics = checkpoint.metrics
        self.log.rewind(checkpoint.step)
        return checkpoint.step

    def _save(self, done: int) -> None:
        """Start writing a checkpoint of the state after `done` steps."""
        # Called on every rank, since it gathers their random generators; only rank 0 gets a state.
        state = snapshot(self.step.objective, self.step.optimizer, done)
        if state is not None:
            manifest = new_manifest(
                done,
                steps_per_epoch=self.plan.steps_per_epoch,
                total_steps=self.total_steps,
                fingerprint=self.experiment.fingerprint(),
                run_id=self.task.run_id,
                metrics=self.last_metrics,
            )
            self.checkpoints.save(state, manifest)
        self.log.mirror()

    def _features(self, data: Mapping[str, Data]) -> Tensor:
        """Return the features of `ROWS` samples from the batches of all ranks, for the monitor."""
        share = rows_of(data, slice(max(ROWS // self.ranks.world, 1)))
        prepared = cast(Tensor, self.step.views.plain(moved(share, self.device)))
        return self.ranks.gather(embed_plain(self.step.objective.exported, prepared))

    def _result(
        self, metrics: dict[str, float], stopped: TrainingStopped | None
    ) -> dict[str, Any] | None:
        """Return the numbers for the driver on rank 0, and None on the other ranks."""
        if self.rank != 0:
            return None
        diagnosis = None
        if stopped is not None:
            diagnosis = {"diagnosis": stopped.diagnosis, "message": str(stopped)}
        return {
            "steps": self.done,
            "epochs": self.done / self.plan.steps_per_epoch,
            "total_steps": self.total_steps,
            **self.clock.summary(),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "loss": self.last_metrics.get("loss"),
            "metrics": metrics,
            "skipped": self.skipped,
            "metrics_pending": self.log.close(DRAIN_SECONDS),
            "stopped": diagnosis,
        }


def _told(error: MantaError) -> dict[str, Any]:
    """Return an error as the result of a run that it ended."""
    return {
        "error": {"kind": type(error).__name__, "message": str(error), "trace": error.trace},
    }


def _device() -> torch.device:
    """Return the GPU that Ray Train gave this worker, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    import ray.train.torch

    device: torch.device = ray.train.torch.get_device()
    return device
