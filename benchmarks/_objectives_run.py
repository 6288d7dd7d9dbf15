"""One run of benchmarks/objectives.py in a process of its own, and the file that remembers what is
done."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta.config import Experiment, from_mapping
from manta.errors import TrainingStopped
from manta.training.images import Shared

PEAK, NOW = "VmHWM", "VmRSS"
SHOWN = 300
"""Characters of a reason that are kept."""
STARTS = ("untrained", "settled")
"""Encoders of random weights: as they are built, and with BatchNorm's statistics of plain images of
the bank, which are worth points by themselves. The latter is nothing where there is no
BatchNorm."""
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is told.

    Attributes:
        name: of the objective, or one of `STARTS`.
        experiment: as plain data.
        dataset: location of the ingested dataset, and its digest.
        folder: that the run may use and that is removed afterwards.
        threads: of torch.
        keep: where the trained encoder is saved; None: nowhere.
        teacher: saved encoder that must be there first.
    """

    name: str
    experiment: dict[str, Any]
    dataset: str
    digest: str
    folder: str
    threads: int = 1
    keep: str | None = None
    teacher: str | None = None

    @property
    def trains(self) -> bool:
        return self.name not in STARTS

    @property
    def key(self) -> str:
        """Equal keys give equal numbers: of the data and of what decides the training, or the
        encoder's start."""
        experiment = from_mapping(self.experiment)
        if self.trains:
            return f"{self.digest[:12]}-{experiment.fingerprint()}"
        start = [
            experiment.encoder.model_dump(mode="json"),
            experiment.train.seed,
            experiment.data.limit,
        ]
        return f"{self.digest[:12]}-{self.name}-{hashlib.sha256(json.dumps(start).encode()).hexdigest()[:12]}"

    def facts(self) -> Record:
        """What a line of the file says of the job."""
        experiment = from_mapping(self.experiment)
        train = experiment.train
        said = {
            "objective": self.name,
            "seed": train.seed,
            "epochs": train.epochs if self.trains else 0,
        }
        return said | {
            "limit": experiment.data.limit,
            "batch": train.batch_size,
            "temperature": getattr(experiment.objective, "temperature", None),
            "encoder": encoder_words(experiment),
            "key": self.key,
            "threads": self.threads,
        }


def encoder_words(experiment: Experiment) -> str:
    """The encoder's name and what distinguishes it from others of that name."""
    config = experiment.encoder
    return " ".join([config.name, *(f"{key}={value}" for key, value in config.args.items())])


class Store:
    """`runs.jsonl`: a line for each run that ended. The last line of a key counts; what failed is
    tried again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.jsonl"

    def records(self) -> dict[str, Record]:
        """By key; a line that a kill tore is passed over."""
        found: dict[str, Record] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[record["key"]] = record
        return found

    def add(self, record: Record) -> None:
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(record) + "\n")


def perform(
    jobs: Iterable[Job],
    store: Store,
    shared: Shared,
    *,
    concurrent: int,
    say: Callable[[str], None],
) -> None:
    """Run what the store does not have, `concurrent` at a time, each in a fresh process, in the
    order of `jobs`."""
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
        ready = [
            job for job in todo if job.teacher is None or Path(job.teacher, "manta.json").exists()
        ]
        if not ready and not running:
            ready = list(todo)  # their teacher failed, and each says so
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


def run(job: Job, shared: Shared) -> Record:
    """Train and measure, in this process. What goes wrong is in the record."""
    import torch

    start = time.monotonic()
    torch.set_num_threads(job.threads)
    experiment = from_mapping(job.experiment)
    try:
        if job.trains:
            found = _train(job, experiment, shared)
        else:
            found = _untrained(experiment, shared, settle=job.name == "settled")
    except Exception as error:
        found = {"failed": _short(error)}
    return found | {"seconds": round(time.monotonic() - start, 1)}


def _train(job: Job, experiment: Experiment, shared: Shared) -> Record:
    import ray

    from manta.runs.folder import RunFolder
    from manta.runs.lease import Lease
    from manta.runs.materials import wanted
    from manta.training.loop import Worker
    from manta.training.task import Task

    class Untracked(Worker):
        """Its curves are nobody's business here, and a client of MLflow would count as memory."""

        def _open_log(self) -> None:
            return None

    folder = RunFolder(job.folder)
    lease = Lease.take(folder)
    before = time.monotonic()
    if wanted(
        experiment
    ):  # in another process: what an autoencoder leaves behind is not the training's
        ray.get(ray.remote(num_cpus=1, max_calls=1, max_retries=0)(_provide).remote(job, shared))
    materials = time.monotonic() - before
    base = _forget_peak()
    task = Task(
        experiment=job.experiment,
        dataset=job.dataset,
        folder=folder.url,
        attempt=lease.attempt,
        run_id="",
        tracking_uri="",
        started=time.time(),
        threads=job.threads,
        decode_tasks=1,
        device="cpu",
        trial=True,
    )
    worker = Untracked(task, shared)
    stopped = None
    try:
        for _ in worker.train():
            pass
    except TrainingStopped as error:  # what it had learnt until then is measured
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


def _provide(job: Job, shared: Shared) -> None:
    """What the objective needs before its first step, into the run's folder."""
    import torch

    from manta.materials.make import provide
    from manta.runs.folder import RunFolder
    from manta.tracking import Tracker

    torch.set_num_threads(job.threads)
    tracker = Tracker(
        runs_dir=job.folder
    )  # opened only by what asks the registry for a model: nothing does
    experiment, folder = from_mapping(job.experiment), RunFolder(job.folder)
    provide(
        experiment, shared.manifest, folder, tracker, runs=job.folder, notify=lambda _said: None
    )


def _untrained(experiment: Experiment, shared: Shared, *, settle: bool) -> Record:
    from manta.runs.build import seed_everything, untrained_encoder

    seed_everything(experiment.train.seed)
    encoder = untrained_encoder(experiment)
    if settle and not _settle(encoder, experiment, shared):
        return {"metrics": {}}
    return {"metrics": _measure(encoder, experiment, shared)}


def _settle(encoder: Any, experiment: Experiment, shared: Shared) -> bool:
    """As runs do it to the untrained encoder; False where there is no BatchNorm."""
    from manta.batch import ViewNeeds
    from manta.evaluation import untrained
    from manta.evaluation.rows import SplitRows
    from manta.runs.build import plan_of
    from manta.views import Views

    prepare = Views(experiment.views, ViewNeeds(), image_size=experiment.data.image_size).plain
    rows = SplitRows(
        shared.manifest, plan_of(experiment, shared.manifest).holdout, "bank", untrained.ROWS
    )
    images = (batch.images for batch in shared.read(rows, rank=0, world=1))
    return untrained.recalibrate_batchnorm(encoder, images, prepare)


def _measure(encoder: Any, experiment: Experiment, shared: Shared) -> dict[str, float]:
    """The recipe's evaluators, on all held-out rows with all others as the bank."""
    import torch

    from manta.batch import ViewNeeds
    from manta.evaluation.online import due_evaluators, embed_splits
    from manta.evaluation.rows import SplitRows
    from manta.runs.build import plan_of
    from manta.views import Views

    limits, plan = experiment.evaluation, plan_of(experiment, shared.manifest)
    assessment = embed_splits(
        {"": encoder},
        SplitRows(shared.manifest, plan.holdout, "bank", limits.bank_rows),
        SplitRows(shared.manifest, plan.holdout, "queries", limits.query_rows),
        prepare=Views(experiment.views, ViewNeeds(), image_size=experiment.data.image_size).plain,
        size=experiment.data.canonical_size,
        device=torch.device("cpu"),
        read=shared.read,
    )
    return {} if assessment is None else assessment.metrics(due_evaluators(limits))


def _save(encoder: Any, experiment: Experiment, folder: Path) -> None:
    """Whole or not at all: what waits for it looks for the folder."""
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
    """Start to measure the peak anew; returns the MiB in use now."""
    import manta.serving.export
    import manta.training.loop
    import manta.views  # noqa: F401 (what a run imports is not what it needs)

    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory(NOW)


def _memory(what: str) -> float | None:
    """MiB of this process, as the kernel counts them; None where it is not Linux."""
    try:
        found = re.search(
            rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE
        )
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def _short(error: Exception) -> str:
    error = getattr(error, "cause", None) or error  # Ray's own message is a trace
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _line(record: Record) -> str:
    head = f"{record['objective']:<18} seed {record['seed']} batch {record['batch']:<4}"
    if record.get("failed"):
        return f"{head} failed: {record['failed']}"
    metrics = record["metrics"]
    knn, rank = metrics.get("knn_top1", float("nan")), metrics.get("rankme", float("nan"))
    speed = (
        f" {record['images_per_second']:.0f} images/s" if record.get("images_per_second") else ""
    )
    stopped = f" stopped: {record['stopped']}" if record.get("stopped") else ""
    return f"{head} kNN {knn:.3f} RankMe {rank:6.1f}{speed} {record['seconds']:.0f} s{stopped}"
