"""The driver of a run: folder, cluster, data, workers, and what follows training."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from manta import errors
from manta.cluster import connect, interruptible, start_ahead
from manta.config import Experiment
from manta.data import IngestProgress, Manifest, open_dataset, prepare
from manta.errors import MantaError, RunError, TrackingError, TrainingStopped
from manta.materials.make import prepare_materials
from manta.runs.build import plan_of, total_steps
from manta.runs.folder import RunFolder, default_cache
from manta.runs.lease import Lease
from manta.runs.store import Notify, default_store
from manta.tracking import Tracker
from manta.training.components import own_components
from manta.training.launch import WorkerResources, allocate, logical_cpus
from manta.training.opening import check_store, close_failed, open_folder, open_run
from manta.training.preflight import preflight
from manta.training.task import Task


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A user's request for a run.

    Attributes:
        runs: folder (or URL) that holds runs.
        name: of the run; None makes one up.
        resume: go on with the run of that name.
        started: wall-clock time of the command's start.
        notify: told each stage in a few words.
        ingest_progress: told how far the ingest of the source is.
        watch_folder: called with the folder and total steps once workers start; returns what ends
            the watching.
    """

    experiment: Experiment
    runs: str
    name: str | None = None
    resume: bool = False
    started: float = 0.0
    notify: Notify = lambda _message: None
    ingest_progress: IngestProgress | None = None
    watch_folder: Callable[[RunFolder, int], Callable[[], None]] | None = None


@dataclass(frozen=True, slots=True)
class _PreparedRun:
    """Everything that training needs, and what is published after it."""

    task: Task
    resources: WorkerResources
    folder: RunFolder
    manifest: Manifest
    tracker: Tracker
    steps: int
    own_cluster: bool


def train(request: RunRequest) -> dict[str, Any]:
    """Run to the end; return the summary that `--summary` writes.

    Raises:
        MantaError: anything that the user can mend; `TrainingStopped` if the run collapsed or is
            not finite.
    """
    experiment = request.experiment
    folder = open_folder(experiment, request.runs, request.name, resume=request.resume)
    if request.resume and folder.exists("summary.json"):
        request.notify(f"run {folder.name!r} is already finished")
        return dict(folder.read_json("summary.json"))
    run = _prepare(request, folder)
    count = run.resources.workers
    request.notify(f"training {folder.name!r}: {run.steps} steps on {count} worker(s)")
    with _watched(request, run), _marked_if_it_fails(run):
        result = _fit(run)
    return _publish(run, result, request.notify)


def _prepare(request: RunRequest, folder: RunFolder) -> _PreparedRun:
    """Start Ray, find or ingest the data, and open the run."""
    experiment = request.experiment
    tracker = Tracker(
        experiment=experiment.tracking.experiment, runs_dir=default_store(request.runs)
    )
    # First of all: a component that cannot travel is said before seconds of starting.
    components = own_components(experiment)
    with ThreadPoolExecutor(2) as background:
        # Ray's start, MLflow's import and first migration, and timm's import take seconds each:
        # side by side.
        request.notify("starting Ray")
        checking = background.submit(preflight, experiment)
        opening = background.submit(check_store, folder, tracker)
        # In this thread: Ray's processes end with the thread that started them.
        own = connect(cpus=logical_cpus(experiment))
        start_ahead()
        # Before the ingest, which may take hours.
        checking.result()
        resources = allocate(experiment)
        cache = experiment.data.cache_dir or default_cache(request.runs)
        dataset = prepare(experiment.data.source, cache, progress=request.ingest_progress)
        manifest = open_dataset(dataset)
        steps = total_steps(experiment, plan_of(experiment, manifest))
        # The run's folder is not written before here: a store that does not answer leaves none.
        opening.result()
        if not folder.exists("experiment.yaml"):
            folder.write(experiment.to_yaml().encode(), "experiment.yaml")
        # Before the materials and `run.json`, which another attempt may be writing.
        lease = Lease.take(folder)
        prepare_materials(
            experiment, manifest, folder, tracker, runs=request.runs, notify=request.notify
        )
        run_id = open_run(folder, experiment, tracker, manifest, dataset, request.notify)
    task = Task(
        experiment=experiment,
        dataset=dataset,
        folder=folder.url,
        attempt=lease.attempt,
        run_id=run_id,
        tracking_uri=tracker.uri,
        started=request.started or time.time(),
        threads=resources.threads,
        decode_tasks=resources.decode_tasks,
        components=components,
    )
    return _PreparedRun(task, resources, folder, manifest, tracker, steps, own)


@contextlib.contextmanager
def _watched(request: RunRequest, run: _PreparedRun) -> Iterator[None]:
    """Let the user's progress bar follow the run's folder."""
    if request.watch_folder is None:
        yield
        return
    stop_watching = request.watch_folder(run.folder, run.steps)
    try:
        yield
    finally:
        stop_watching()


@contextlib.contextmanager
def _marked_if_it_fails(run: _PreparedRun) -> Iterator[None]:
    """Note in the folder and in MLflow how training was interrupted or has failed."""
    try:
        yield
    except KeyboardInterrupt:
        close_failed(run.folder, run.tracker, run.task.run_id, "KILLED", status="interrupted")
        raise
    except BaseException:
        close_failed(run.folder, run.tracker, run.task.run_id, "FAILED")
        raise


def _publish(run: _PreparedRun, result: dict[str, Any], notify: Notify) -> dict[str, Any]:
    """Export, register and report a finished run; of a stopped one, report it and raise."""
    # Imported here: plots and export take seconds to import, and workers need not wait for that.
    from manta.training.publish import publish

    folder, tracker, run_id = run.folder, run.tracker, run.task.run_id
    stopped = result["stopped"]
    if stopped is not None:
        # Before the pages are drawn, which show the diagnosis.
        folder.update_json({"status": "stopped", "diagnosis": stopped["diagnosis"]}, "run.json")
        with contextlib.suppress(TrackingError):
            tracker.set_tags(run_id, {"manta.diagnosis": stopped["diagnosis"]})
    summary = publish(
        folder,
        run.task.experiment,
        run.manifest,
        tracker,
        run_id,
        result,
        model=stopped is None,
        notify=notify,
    )
    if stopped is not None:
        close_failed(folder, tracker, run_id, "FAILED", status="stopped")
        raise TrainingStopped(stopped["message"], diagnosis=stopped["diagnosis"])
    return summary


def _fit(run: _PreparedRun) -> dict[str, Any]:
    """Run Ray Train around the loop; return what rank 0 returned.

    A lost worker restarts the group, which goes on from the newest checkpoint.
    """
    from ray.train import FailureConfig, RunConfig

    from manta.training.trainer import make_trainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    max_failures = run.task.experiment.train.max_failures
    config = RunConfig(
        name=f"attempt-{run.task.attempt}",
        storage_path=run.folder.url_of("ray"),
        failure_config=FailureConfig(max_failures=max_failures),
    )
    trainer = make_trainer(run.task, run.resources, config, own_cluster=run.own_cluster)
    try:
        with interruptible():
            result = dict(trainer.fit().return_value)
    except MantaError:
        raise
    except Exception as error:
        raise _as_user_error(error, run.folder) from error
    if (failed := result.get("error")) is not None:
        raise getattr(errors, failed["kind"], RunError)(failed["message"])
    return result


def _as_user_error(error: Exception, folder: RunFolder) -> Exception:
    """Return the worker's own one-line error, if it had one; otherwise one that points to Ray's."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, MantaError):
                return cause
            inner = getattr(cause, "_base_exc", None) or getattr(cause, "cause", None)
            cause = inner or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    folder.write(str(error).encode(), "error.txt")
    last = lines[-1].strip() if lines else type(error).__name__
    trace = folder.url_of("error.txt")
    return RunError(
        f"training failed: {last} (whole trace: {trace}); --resume goes on from the last checkpoint"
    )
