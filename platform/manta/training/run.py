"""Driver of a run: folder, cluster, data, workers, and publication."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from manta import errors
from manta.cluster import connect, interruptible, start_ahead
from manta.config import Experiment
from manta.data import IngestProgress, Manifest, SourceOptions, check_source, open_dataset
from manta.errors import (
    MantaError,
    RunError,
    TrackingError,
    TrainingStopped,
)
from manta.failures import as_user_error, described, innermost, whole_trace
from manta.runs.build import plan_of, total_steps
from manta.runs.checkpoint import Checkpoints
from manta.runs.folder import RunFolder, default_cache
from manta.runs.lease import Lease
from manta.runs.resumed_data import prepare_resumed
from manta.runs.store import Notify, default_store
from manta.tracking import Tracker
from manta.training.components import own_components
from manta.training.evaluations import evaluation_notes
from manta.training.launch import WorkerResources, allocate, logical_cpus
from manta.training.mistakes import Mistake, write_trace
from manta.training.opening import (
    check_store,
    close_failed,
    naming_resume,
    open_folder,
    open_run,
)
from manta.training.preflight import preflight
from manta.training.start import OpenedStart, opened_start, tags
from manta.training.task import Task
from manta.workshop.prepare import prepare_materials


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A user's request for a run.

    Attributes:
        runs: folder or URL that holds the runs.
        name: of the run; None: objective, encoder and time.
        resume: continue the run of that name.
        started: wall-clock time at which the command started.
        notify: called with a few words at each stage.
        ingest_progress: called during the ingest of the source.
        watch_folder: called with the folder and the total steps once workers start; returns a
            function that ends the watching.
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
    """Everything that training and the publication after it need."""

    task: Task
    resources: WorkerResources
    folder: RunFolder
    manifest: Manifest
    tracker: Tracker
    steps: int
    own_cluster: bool


def train(request: RunRequest) -> dict[str, Any]:
    """Carry out a run to its end; return the summary that `--summary` writes.

    Raises:
        MantaError: a problem that the user can fix; `TrainingStopped` if the run collapsed or its
            loss was not finite.
    """
    with opened_start(request.experiment, request.runs, _resumed(request)) as start:
        request = replace(request, experiment=start.experiment)
        folder = open_folder(request.experiment, request.runs, request.name, resume=request.resume)
        if request.resume and folder.exists("summary.json"):
            request.notify(f"run {folder.name!r} is already finished")
            return dict(folder.read_json("summary.json"))
        with naming_resume(folder, "experiment.yaml"):
            run = _prepare(request, folder, start)
    with naming_resume(folder, "experiment.yaml"):
        count = run.resources.workers
        newest = Checkpoints(folder, None).latest() if request.resume else None
        since = f" from step {newest.step} on" if newest is not None else ""
        request.notify(f"training {folder.name!r}{since}: {run.steps} steps on {count} worker(s)")
        with _watched(request, run), _marked_if_it_fails(run):
            result = _fit(run)
        # Outside the block, because the publication records the status of the run itself.
        return _publish(run, result, request.notify)


def _resumed(request: RunRequest) -> RunFolder | None:
    """Return the folder of the run to resume, whether there is one or not; None for a new run."""
    is_resumed = request.resume and request.name is not None
    return RunFolder(f"{request.runs.rstrip('/')}/{request.name}") if is_resumed else None


def _prepare(request: RunRequest, folder: RunFolder, start: OpenedStart) -> _PreparedRun:
    """Start Ray, find or ingest the data, and open the run."""
    experiment = request.experiment
    # Before the tracker, which makes the folder of its store: a refusal leaves nothing behind.
    if not request.resume:  # which goes on with the dataset that it was started with
        check_source(experiment.data.source, SourceOptions.of(experiment.data))
    tracker = Tracker(
        experiment=experiment.tracking.experiment, runs_dir=default_store(request.runs)
    )
    # Early, so that a component that cannot be pickled fails before Ray takes seconds to
    # start.
    components = own_components(experiment)
    with ThreadPoolExecutor(2) as background:
        # Three starts take seconds each and mostly wait, so they run side by side: Ray's, MLflow's
        # (import and first migration) and timm's (import, in `preflight`).
        request.notify("starting Ray")
        is_complete = experiment.modality().is_complete
        checking = background.submit(preflight, experiment) if is_complete else None
        opening = background.submit(check_store, folder, tracker)
        # Ray starts in this thread, since its processes end with the thread that started them.
        own = connect(cpus=logical_cpus(experiment))
        start_ahead()
        # A wrong configuration or too few resources must fail before the ingest, which may take
        # hours.
        if checking is not None:
            checking.result()
        resources = allocate(experiment)
        dataset = _dataset(request, folder)
        manifest = open_dataset(dataset)
        start = start.tried(manifest.stats)
        for line in [*manifest.said(), *start.said(resumed=request.resume)]:
            request.notify(line)
        if not is_complete:
            preflight(experiment, manifest.stats)
        plan = plan_of(experiment, manifest)
        steps = total_steps(experiment, plan)
        for note in evaluation_notes(experiment, manifest, plan):
            request.notify(note)
        # Nothing is written into the run's folder before this line, so that a tracking store that
        # does not answer leaves no half-made run behind.
        opening.result()
        if not folder.exists("experiment.yaml"):
            folder.write(experiment.to_yaml().encode(), "experiment.yaml")
        # The lease comes before the materials and `run.json`: from here on, another attempt at this
        # run stops writing them.
        lease = Lease.take(folder)
        start.write(folder)
        prepare_materials(
            experiment,
            manifest,
            folder,
            tracker,
            runs=request.runs,
            notify=request.notify,
            at_hand=start.at_hand,
        )
        run_id = open_run(
            folder, experiment, tracker, manifest, dataset, request.notify, tags=tags(start.record)
        )
        if start.record is not None:
            folder.update_json({"start": start.record}, "run.json")
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


def _dataset(request: RunRequest, folder: RunFolder) -> str:
    """Return the location of the ingested data; of a resumed run those that it began with."""
    data = request.experiment.data
    is_begun = request.resume and folder.exists("run.json")
    return prepare_resumed(
        data.source,
        data.cache_dir or default_cache(request.runs),
        folder.read_json("run.json") if is_begun else {},
        f"run {folder.name!r}",
        request.notify,
        request.ingest_progress,
        options=SourceOptions.of(data),
        modality=request.experiment.modality(),
    )


@contextlib.contextmanager
def _watched(request: RunRequest, run: _PreparedRun) -> Iterator[None]:
    """Run the block while the user's progress bar follows the run's folder."""
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
    """Run the block; if it fails or is interrupted, record that in the folder and in MLflow."""
    try:
        yield
    except KeyboardInterrupt:
        close_failed(run.folder, run.tracker, run.task.run_id, "KILLED", status="interrupted")
        raise
    except BaseException:
        close_failed(run.folder, run.tracker, run.task.run_id, "FAILED")
        raise


def _publish(run: _PreparedRun, result: dict[str, Any], notify: Notify) -> dict[str, Any]:
    """Export, register and report a finished run; return the summary.

    Raises:
        TrainingStopped: the collapse monitor stopped the run, which is reported nevertheless.
    """
    # Imported only now: plots and export take seconds to import, and training need not wait.
    from manta.training.publish import publish

    folder, tracker, run_id = run.folder, run.tracker, run.task.run_id
    stopped = result["stopped"]
    if stopped is not None:
        # Before the pages are drawn, because they show the diagnosis.
        folder.update_json({"status": "stopped", "diagnosis": stopped["diagnosis"]}, "run.json")
        with contextlib.suppress(TrackingError):
            tracker.set_tags(run_id, {"manta.diagnosis": stopped["diagnosis"]})
    for name, why in result["skipped"].items():
        if not why.startswith("needs "):  # that was said before training
            notify(f"{name} gave no numbers: {why}")
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
    """Run the training loop in Ray Train; return the numbers of rank 0.

    If a worker is lost, Ray restarts all of them, and they continue from the newest checkpoint.
    """
    from ray.train import FailureConfig, RunConfig

    from manta.training.trainer import EndAtOnce, make_trainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    max_failures = run.task.experiment.train.max_failures
    config = RunConfig(
        name=f"attempt-{run.task.attempt}",
        storage_path=run.folder.url_of("ray"),
        failure_config=FailureConfig(max_failures=max_failures),
        callbacks=[EndAtOnce()] if run.resources.workers > 1 else None,
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
        if failed["trace"]:
            raise _training_failed(failed["message"], failed["trace"], run.folder)
        raise getattr(errors, failed["kind"], RunError)(failed["message"])
    return result


def _as_user_error(error: Exception, folder: RunFolder) -> Exception:
    """Return the worker's own one-line error, or else a RunError that names the whole traceback."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in (*failures.values(), error):
        mine = as_user_error(failure)
        if isinstance(mine, Mistake):
            return _training_failed(str(mine), mine.trace or whole_trace(error), folder)
        # What ends a worker otherwise is told with the run's folder.
        if mine is not None and type(mine) is not RunError:
            return mine
    cause = next(iter(failures.values()), error)
    # Ray's error has the tracebacks of all workers in its message; theirs have lost them.
    trace = whole_trace(error)
    return _training_failed(described(innermost(cause), trace), trace, folder)


def _training_failed(reason: str, trace: str, folder: RunFolder) -> RunError:
    """Return the error that names a reason and the file in which the traceback now is."""
    return RunError(
        f"training failed: {reason} (whole trace: {write_trace(trace, folder)}); --resume goes on "
        "from the last checkpoint"
    )
