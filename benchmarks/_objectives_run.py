"""Runs of benchmarks/objectives.py, each in a process of its own."""

from __future__ import annotations

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from _objectives_job import Job, Record, Store

from manta.config import Experiment, from_mapping
from manta.errors import TrainingStopped
from manta.training.supply import CachedRows

PEAK, NOW = "VmHWM", "VmRSS"
SHOWN = 300
"""Length of an error's text in a record, in characters."""


def perform(
    jobs: Iterable[Job],
    store: Store,
    shared: CachedRows,
    *,
    concurrent: int,
    say: Callable[[str], None],
) -> None:
    """Run the jobs that the store does not have, in their order.

    `concurrent` of them run at a time, each in a fresh process.
    """
    import ray

    done = store.records()
    unique = {job.key: job for job in jobs}
    todo = deque(job for key, job in unique.items() if not _is_done(job, done.get(key)))
    total, ended, start = len(todo), 0, time.monotonic()
    say(f"{len(unique)} runs, {len(unique) - total} of them done before, {concurrent} at a time")
    task = ray.remote(num_cpus=1, max_calls=1, max_retries=0)(run)
    images = ray.put(shared)
    running: dict[Any, Job] = {}
    while todo or running:
        ready = [job for job in todo if _has_teacher(job)]
        if not ready and not running:
            # Their teacher failed: each run fails, and its record says why.
            ready = list(todo)
        for job in ready[: concurrent - len(running)]:
            todo.remove(job)
            running[task.remote(job, images)] = job
        (ref,), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(ref)
        try:
            record = ray.get(ref)
        except Exception as error:  # its process died
            record = {"failed": _short(error)}
        shutil.rmtree(job.folder, ignore_errors=True)
        record = job.facts() | {"concurrent": concurrent} | record
        store.add(record)
        ended += 1
        left = (time.monotonic() - start) / ended * (total - ended) / 60
        say(f"{ended:>4}/{total} {_line(record)}   about {left:.0f} minutes left")


def _has_teacher(job: Job) -> bool:
    return job.teacher is None or Path(job.teacher, "manta.json").exists()


def run(job: Job, shared: CachedRows) -> Record:
    """Train and measure in this process; return the record, with the reason if it failed."""
    import torch

    start = time.monotonic()
    torch.set_num_threads(job.threads)
    experiment = from_mapping(job.experiment)
    try:
        if job.trains:
            record = _train(job, experiment, shared)
        else:
            record = _untrained(experiment, shared, recalibrate=job.name == "recalibrated")
    except Exception as error:
        record = {"failed": _short(error)}
    return record | {"seconds": round(time.monotonic() - start, 1)}


def _train(job: Job, experiment: Experiment, shared: CachedRows) -> Record:
    """Train as a trial does, and return what it measured."""
    import ray

    from manta.runs.folder import RunFolder
    from manta.runs.lease import Lease
    from manta.runs.materials import required
    from manta.training.loop import Worker
    from manta.training.task import Task

    folder = RunFolder(job.folder)
    lease = Lease.take(folder)
    before = time.monotonic()
    if required(experiment):
        # In another process, so that an autoencoder's memory does not count as the training's.
        ray.get(ray.remote(num_cpus=1, max_calls=1, max_retries=0)(_provide).remote(job, shared))
    materials = time.monotonic() - before
    base = _forget_peak()
    task = Task(
        experiment=experiment,
        dataset=job.dataset,
        folder=folder.url,
        attempt=lease.attempt,
        run_id="",  # without a log: a client of MLflow would count as the run's memory
        tracking_uri="",
        started=time.time(),
        threads=job.threads,
        decode_tasks=1,
        device="cpu",
        saves_views=False,
        evaluates_untrained=False,
        evaluates_last_step=True,
    )
    worker = Worker(task, shared)
    stopped = None
    try:
        for _ in worker.train():
            pass
    except TrainingStopped as error:  # the encoder is measured as it was then
        stopped = f"{error.diagnosis} at step {worker.done}: {error}"
    peak = _memory(PEAK)
    encoder = worker.step.objective.exported
    record = {
        "metrics": _measure(encoder, experiment, shared),
        "images_per_second": worker.clock.rates().get("images_per_second"),
        "peak_mib": None if peak is None or base is None else round(peak - base),
        "process_mib": None if base is None else round(base),
        "steps": worker.done,
        "loss": worker.last_metrics.get("loss"),
        "materials_seconds": round(materials, 1),
        "stopped": stopped,
    }
    if job.keep is not None:
        _save(encoder, experiment, Path(job.keep))
    return record


def _provide(job: Job, shared: CachedRows) -> None:
    """Prepare the objective's materials in the run's folder."""
    import torch

    from manta.runs.folder import RunFolder
    from manta.tracking import Tracker
    from manta.workshop.prepare import prepare_materials

    torch.set_num_threads(job.threads)
    # Never opened: only a model from the registry needs the server, and no job names one.
    tracker = Tracker(runs_dir=job.folder)
    experiment, folder = from_mapping(job.experiment), RunFolder(job.folder)
    prepare_materials(
        experiment, shared.manifest, folder, tracker, runs=job.folder, notify=lambda _said: None
    )


def _untrained(experiment: Experiment, shared: CachedRows, *, recalibrate: bool) -> Record:
    from manta.runs.build import seed_everything, untrained_encoder

    seed_everything(experiment.train.seed)
    encoder = untrained_encoder(experiment)
    if recalibrate and not _recalibrate(encoder, experiment, shared):
        return {"metrics": {}}
    return {"metrics": _measure(encoder, experiment, shared)}


def _recalibrate(encoder: Any, experiment: Experiment, shared: CachedRows) -> bool:
    """Recalibrate BatchNorm as runs do for the untrained encoder; return False if it has none."""
    from manta.batch import ViewNeeds
    from manta.evaluation import untrained
    from manta.evaluation.rows import SplitRows
    from manta.runs.build import plan_of

    prepare = experiment.modality().views(experiment.views, ViewNeeds()).plain
    holdout = plan_of(experiment, shared.manifest).holdout
    rows = SplitRows(shared.manifest, holdout, "bank", untrained.ROWS)
    data = (batch.data for batch in shared.read(rows, rank=0, world=1))
    return untrained.recalibrate_batchnorm(encoder, data, prepare)


def _measure(encoder: Any, experiment: Experiment, shared: CachedRows) -> dict[str, float]:
    """Return the metrics of the recipe's evaluators, of all held-out rows against all others."""
    import torch

    from manta.batch import ViewNeeds
    from manta.evaluation.online import due_evaluators, embed_splits
    from manta.evaluation.rows import SplitRows
    from manta.runs.build import plan_of

    limits, plan = experiment.evaluation, plan_of(experiment, shared.manifest)
    modality = experiment.modality()
    assessment = embed_splits(
        {"": encoder},
        SplitRows(shared.manifest, plan.holdout, "bank", limits.bank_rows),
        SplitRows(shared.manifest, plan.holdout, "queries", limits.query_rows),
        prepare=modality.views(experiment.views, ViewNeeds()).plain,
        modality=modality,
        device=torch.device("cpu"),
        read=shared.read,
    )
    return {} if assessment is None else assessment.measure(due_evaluators(limits)).metrics


def _save(encoder: Any, experiment: Experiment, folder: Path) -> None:
    """Save the encoder atomically, since jobs that need it wait for the folder."""
    from manta.models.restore import export
    from manta.serving import save_encoder

    aside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    save_encoder(export(experiment, encoder.eval()), aside, config=experiment.encoder)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _is_done(job: Job, record: Record | None) -> bool:
    if record is None or record.get("failed"):
        return False
    return job.keep is None or Path(job.keep, "manta.json").exists()


def _forget_peak() -> float | None:
    """Reset the process's memory peak; return the MiB in use now.

    None where the kernel cannot reset it.
    """
    import manta.serving.export
    import manta.training.loop
    import manta.views  # noqa: F401

    # The imports above come first: what libraries take is not the run's memory.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory(NOW)


def _memory(what: str) -> float | None:
    """Return MiB of this process, as the kernel counts them; None where it is not Linux."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) / 1024 if match else None


def _short(error: Exception) -> str:
    """Return the error's type and message on one line of limited length."""
    error = getattr(error, "cause", None) or error  # Ray's own message is a trace
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _line(record: Record) -> str:
    """Return the line that is printed for a record."""
    head = f"{record['objective']:<18} seed {record['seed']} batch {record['batch']:<4}"
    if record.get("failed"):
        return f"{head} failed: {record['failed']}"
    metrics = record["metrics"]
    knn, rank = metrics.get("knn_top1", float("nan")), metrics.get("rankme", float("nan"))
    rate = record.get("images_per_second")
    speed = f" {rate:.0f} images/s" if rate else ""
    stopped = f" stopped: {record['stopped']}" if record.get("stopped") else ""
    return f"{head} kNN {knn:.3f} RankMe {rank:6.1f}{speed} {record['seconds']:.0f} s{stopped}"
