"""What each Ray Train worker runs: stream, step, log, watch, checkpoint, evaluate."""

from __future__ import annotations

import contextlib
import resource
import zlib
from collections.abc import Generator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from manta import encoders
from manta.config import Experiment, from_mapping
from manta.data import Manifest, RankBatch, open_dataset
from manta.errors import MantaError, RunError, TrainingStopped
from manta.evaluation import untrained
from manta.evaluation.augmented import augmentation, required_views
from manta.evaluation.online import SplitFeatures, due_evaluators, embed_splits
from manta.evaluation.rows import SplitRows
from manta.evaluators import Evaluator
from manta.memory import keep_freed_memory
from manta.runs.build import (
    build_objective,
    plan_of,
    seed_everything,
    total_steps,
    untrained_encoder,
)
from manta.runs.checkpoint import CheckpointManifest, Checkpoints, new_manifest, snapshot
from manta.runs.folder import RunFolder, local_copy
from manta.runs.lease import Lease
from manta.runs.materials import local_paths
from manta.tracking import MetricLog, SystemSampler
from manta.training.artifacts import save_assessment, save_views
from manta.training.clock import Clock
from manta.training.health import Watch, look_features
from manta.training.images import Streamed, Supply
from manta.training.step import TrainStep
from manta.training.task import Rung, Task

DRAIN_SECONDS = 20.0
"""How long a finished run waits for the tracking server to take the last metrics."""
ONLINE_BANK, ONLINE_QUERIES = 5_000, 1_000
"""Rows that evaluations during training use; the final one uses `EvaluationConfig`'s limits."""


def train_loop(task: dict[str, Any]) -> dict[str, Any] | None:
    """The worker function. Returns the run's numbers on rank 0; a stop by the watch is a result,
    not a crash."""
    try:
        worker = Worker(Task(**task))
        try:
            with worker.sampling():
                return worker.run()
        finally:
            worker.close()
    except MantaError as error:
        # What the user must mend does not mend itself: returned, so that Ray does not try again.
        # Among several ranks it is raised, since the others would wait for this one.
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise
        return {"error": {"kind": type(error).__name__, "message": str(error)}}


class Worker:
    """One rank of a run.

    Args:
        supply: of images; by default a stream of this worker's own.
    """

    def __init__(self, task: Task, supply: Supply | None = None) -> None:
        self.task = task
        self.experiment: Experiment = from_mapping(task.experiment)
        config = self.experiment.train
        self.distributed = (
            dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        )
        self.rank, self.world = (
            (dist.get_rank(), dist.get_world_size()) if self.distributed else (0, 1)
        )
        self.device = torch.device(task.device) if task.device is not None else _device()
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        seed_everything(config.seed)
        self.manifest: Manifest = open_dataset(task.dataset)
        self.supply = supply or Streamed(
            self.manifest, self.experiment, task.executor, task.decode_tasks
        )
        self.folder = RunFolder(task.folder)
        self.plan = plan_of(self.experiment, self.manifest)
        self.total_steps = total_steps(self.experiment, self.plan)
        self.step = TrainStep(
            self.experiment,
            build_objective(
                self.experiment, self.manifest, local_paths(self.experiment, self.folder)
            ).to(self.device),
            device=self.device,
            total_steps=self.total_steps,
        )
        self.lease = Lease(self.folder, task.attempt)
        self.checkpoints = Checkpoints(
            self.folder,
            self.lease,
            keep_last=config.keep_last,
            select=self.experiment.evaluation.select,
        )
        self.watch = Watch(self.experiment.watch)
        self.clock = Clock(started=task.started)
        self.log = self._open_log() if self.rank == 0 else None
        self.last_metrics: dict[str, float] = {}
        self.assessed = False
        self.done = 0

    def run(self) -> dict[str, Any] | None:
        """Train from the newest checkpoint to the end, then evaluate."""
        stopped: TrainingStopped | None = None
        try:
            for _ in self.train():
                pass
            self._save(self.done)
        except TrainingStopped as error:
            stopped = error
        self.checkpoints.wait()
        everything = due_evaluators(self.experiment.evaluation)
        assessment = (
            self._assess(everything, final=True)
            if stopped is None and self.plan.held_out_rows
            else None
        )
        metrics: dict[str, float] = {}
        if assessment is not None:
            metrics = assessment.metrics(everything)
            self._write(self.done, metrics, force=True)
            save_assessment(self.folder, self.experiment, assessment, metrics, step=self.done)
            self._mirror_log()
        return self._result(metrics, stopped)

    def train(
        self, source: tuple[Checkpoints, CheckpointManifest] | None = None
    ) -> Generator[Rung]:
        """Train to the last step, from the newest checkpoint or from one of another run.

        Yields:
            each evaluation during training, the checkpoint of which is being written by then.

        Raises:
            TrainingStopped: the watch ended it.
        """
        self.done = self._restore() if source is None else self._take_over(*source)
        batches = self.supply.batches(
            self.plan, rank=self.rank, world=self.world, start=self.done, stop=self.total_steps
        )
        with contextlib.closing(batches):
            for batch in batches:
                self.clock.batch_ready()
                terms = self.step(batch.images, batch.index, batch.step)
                self.clock.stepped()
                self.done = batch.step + 1
                metrics = self._after(batch, terms, self.done)
                if self.done == 1 and self.rank == 0 and not self.task.trial:
                    save_views(self.folder, self.step.views, batch, self.experiment.train.seed)
                self.clock.step_done(self.experiment.train.batch_size)
                if metrics is not None:
                    yield Rung(self.done, metrics | self.clock.rates())
                    self.clock.go_on()

    def sampling(self) -> contextlib.AbstractContextManager[Any]:
        """Rank 0 logs how busy the machine is meanwhile."""
        return SystemSampler(self.log) if self.log is not None else contextlib.nullcontext()

    def agreed(self, go_on: bool) -> bool:
        """What rank 0 says, on every rank."""
        if not self.distributed:
            return go_on
        box = [go_on]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def close(self, timeout: float = DRAIN_SECONDS) -> None:
        if self.log is not None:
            self.log.close(timeout=timeout)

    def _after(
        self, batch: RankBatch, terms: dict[str, Tensor], done: int
    ) -> dict[str, float] | None:
        """Everything between two steps, each at its cadence. Returns the numbers of an
        evaluation."""
        config = self.experiment.train
        saves = done % self._checkpoint_every == 0 and done < self.total_steps
        if done % config.log_every == 0 or saves or done in (1, self.total_steps):
            numbers = self._numbers(terms)
            self.watch.check_finite(numbers, done)
            digest = float(zlib.crc32(batch.index.numpy().tobytes()) & 0xFFFFFF)
            self._write(done, numbers | self.clock.rates() | {"batch_digest": digest})
            self.last_metrics = numbers
        if self.watch.due(done):
            self._write(done, self.watch.look(self._look(batch.images), done))
        metrics = self._evaluate_if_due(done)
        if saves or metrics is not None:
            self._save(done)
        return metrics

    def _evaluate_if_due(self, done: int) -> dict[str, float] | None:
        """The numbers, empty on other ranks than 0; None where nothing was due."""
        per_epoch = self.plan.steps_per_epoch
        due = due_evaluators(self.experiment.evaluation, epoch=done / per_epoch, span=1 / per_epoch)
        assessed_later = done == self.total_steps and not self.task.trial
        if not due or assessed_later or not self.plan.held_out_rows:
            return None
        metrics: dict[str, float] = {}
        with self.clock.paused():
            assessment = self._assess(due, final=False)
            if assessment is not None:
                metrics = assessment.metrics(due)
                self._write(done, metrics, force=True)
                self.last_metrics = self.last_metrics | metrics
        return metrics

    def _assess(self, evaluators: list[Evaluator[Any]], *, final: bool) -> SplitFeatures | None:
        limits = self.experiment.evaluation
        subjects = {"": self.step.objective.exported}
        if final or not (
            self.assessed or self.task.trial
        ):  # the untrained encoder's numbers do not change
            subjects["random"] = self._untrained()
        self.assessed = True
        bank_rows = limits.bank_rows if final else min(ONLINE_BANK, limits.bank_rows)
        query_rows = limits.query_rows if final else min(ONLINE_QUERIES, limits.query_rows)
        return embed_splits(
            subjects,
            SplitRows(self.manifest, self.plan.holdout, "bank", bank_rows),
            SplitRows(self.manifest, self.plan.holdout, "queries", query_rows),
            prepare=self.step.views.plain,
            size=self.experiment.data.canonical_size,
            device=self.device,
            read=self.supply.read,
            augment=augmentation(self.experiment.views, self.experiment.data.image_size),
            views=required_views(evaluators),
        )

    def _untrained(self) -> encoders.Encoder:
        """The encoder as it was before the first step, settled: the same seed gives the same
        weights."""
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # seeding is of every device
            fresh = untrained_encoder(self.experiment).to(self.device)
        limit = min(untrained.ROWS, self.experiment.evaluation.bank_rows)
        rows = self.supply.read(
            SplitRows(self.manifest, self.plan.holdout, "bank", limit), rank=0, world=1
        )
        plain = self.step.views.plain
        untrained.recalibrate_batchnorm(
            fresh, (batch.images for batch in rows), lambda images: plain(images.to(self.device))
        )
        return fresh

    def _restore(self) -> int:
        """Load the newest whole checkpoint; returns the steps done."""
        newest = self.checkpoints.latest()
        if newest is None:
            self._rewind(0)
            return 0
        expected = self.experiment.fingerprint()
        if newest.fingerprint != expected:
            raise RunError(
                f"run {self.folder.name!r} was trained with another configuration ({newest.fingerprint}, now "
                f"{expected}); resume it without overrides, or start a run of another --name"
            )
        return self._take_over(self.checkpoints, newest)

    def _take_over(self, checkpoints: Checkpoints, checkpoint: CheckpointManifest) -> int:
        """Go on from a checkpoint, perhaps of another run; returns the steps done."""
        checkpoints.load(checkpoint).restore(self.step.objective, self.step.optimizer)
        self.last_metrics = checkpoint.metrics
        self._rewind(checkpoint.step)
        return checkpoint.step

    def _rewind(self, step: int) -> None:
        if self.log is not None:
            self.log.rewind(step)

    def _save(self, done: int) -> None:
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
        self._mirror_log()

    def _mirror_log(self) -> None:
        """A log beside a run folder on an object store is written on this machine; what resumes
        needs it there."""
        if self.log is None or self.folder.is_local:
            return
        for path in (self.log.path, self.log.path.with_suffix(".shipped")):
            if path.exists():
                self.folder.write(path.read_bytes(), path.name)

    @property
    def _checkpoint_every(self) -> int:
        return self.experiment.train.checkpoint_every or self.plan.steps_per_epoch

    def _numbers(self, terms: dict[str, Tensor]) -> dict[str, float]:
        """Terms as plain numbers, averaged over ranks: the global batch's."""
        names = sorted(terms)
        values = torch.stack([terms[name].detach().float().to(self.device) for name in names])
        if self.distributed:
            dist.all_reduce(values)
            values /= self.world
        return dict(zip(names, values.tolist(), strict=True))

    def _look(self, images: Tensor) -> Tensor:
        prepared = self.step.views.plain(images[: max(256 // self.world, 1)].to(self.device))
        features = look_features(self.step.objective.exported, prepared)
        if not self.distributed:
            return features
        parts = [torch.empty_like(features) for _ in range(self.world)]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    def _write(self, done: int, numbers: dict[str, float], *, force: bool = False) -> None:
        if self.log is not None:
            self.lease.verify(at_most_every=0.0 if force else 5.0)
            self.log.log(done, numbers)

    def _open_log(self) -> MetricLog:
        path = local_copy(self.folder, "metrics.jsonl", "metrics.shipped")
        return MetricLog(path, uri=self.task.tracking_uri, run_id=self.task.run_id)

    def _result(
        self, metrics: dict[str, float], stopped: TrainingStopped | None
    ) -> dict[str, Any] | None:
        if self.rank != 0:
            return None
        return {
            "steps": self.done,
            "epochs": self.done / self.plan.steps_per_epoch,
            "total_steps": self.total_steps,
            **self.clock.summary(),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "loss": self.last_metrics.get("loss"),
            "metrics": metrics,
            "metrics_pending": self.log.close(timeout=DRAIN_SECONDS) if self.log is not None else 0,
            "stopped": None
            if stopped is None
            else {"diagnosis": stopped.diagnosis, "message": str(stopped)},
        }


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    import ray.train.torch

    device: torch.device = ray.train.torch.get_device()
    return device
