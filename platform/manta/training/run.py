"""The driver of a run: folder, data, cluster, workers, and what follows training."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from manta import encoders, errors, objectives
from manta.batch import DataFacts
from manta.cluster import connect, interruptible, start_ahead
from manta.config import Experiment
from manta.data import IngestProgress, Manifest, open_dataset, prepare
from manta.errors import MantaError, RunError, TrackingError, TrainingStopped
from manta.materials.make import provide
from manta.runs.build import plan_of, total_steps
from manta.runs.folder import RunFolder, default_cache
from manta.runs.lease import Lease, status
from manta.runs.materials import required
from manta.runs.store import Notify, default_store, git_commit, load_experiment
from manta.tracking import Dataset, Tracker
from manta.tracking.tracker import Status
from manta.training.components import own_components
from manta.training.launch import Allotment, allot, logical_cpus
from manta.training.optimizer import build_optimizer
from manta.training.task import Task
from manta.views import Views


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the user asked for.

    Attributes:
        runs: folder (or URL) that holds runs.
        started: wall-clock time of the command's start.
        notify: told each stage in a few words.
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


def train(request: RunRequest) -> dict[str, Any]:
    """Run to the end; returns the summary that `--summary` writes.

    Raises:
        MantaError: anything that the user can mend; `TrainingStopped` if the watch ended the run.
    """
    folder, experiment = _open_folder(request)
    if request.resume and folder.exists("summary.json"):
        request.notify(f"run {folder.name!r} is already finished")
        return dict(folder.read_json("summary.json"))
    tracker = Tracker(
        experiment=experiment.tracking.experiment, runs_dir=default_store(request.runs)
    )
    with ThreadPoolExecutor(2) as background:
        # Ray's start, MLflow's import and first migration, and timm's import take seconds each:
        # side by side.
        request.notify("starting Ray")
        components = own_components(experiment)
        checking = background.submit(preflight, experiment)
        opening = background.submit(_known_run_or_check, folder, tracker)
        own = connect(
            cpus=logical_cpus(experiment)
        )  # in this thread, with which Ray's processes die
        start_ahead()
        checking.result()
        allotment = allot(experiment)
        cache = experiment.data.cache_dir or default_cache(request.runs)
        dataset = prepare(experiment.data.source, cache, progress=request.ingest_progress)
        manifest = open_dataset(dataset)
        steps = total_steps(experiment, plan_of(experiment, manifest))
        opening.result()
        if not folder.exists("experiment.yaml"):
            folder.write(experiment.to_yaml().encode(), "experiment.yaml")
        lease = Lease.take(folder)
        provide(experiment, manifest, folder, tracker, runs=request.runs, notify=request.notify)
        run_id = _open_run(folder, experiment, tracker, manifest, dataset, request.notify)
    task = Task(
        experiment=experiment.model_dump(mode="json"),
        dataset=dataset,
        folder=folder.url,
        attempt=lease.attempt,
        run_id=run_id,
        tracking_uri=tracker.uri,
        started=request.started or time.time(),
        threads=allotment.threads,
        decode_tasks=allotment.decode_tasks,
        components=components,
    )
    request.notify(f"training {folder.name!r}: {steps} steps on {allotment.workers} worker(s)")
    stop_watching = request.watch_folder(folder, steps) if request.watch_folder else None
    try:
        result = _fit(task, experiment, allotment, folder, own_cluster=own)
    except KeyboardInterrupt:
        _fail(folder, tracker, run_id, "KILLED", status="interrupted")
        raise
    except BaseException:
        _fail(folder, tracker, run_id, "FAILED")
        raise
    finally:
        if stop_watching is not None:
            stop_watching()
    from manta.training.publish import (
        publish,
    )  # plots and export: seconds of imports that workers need not wait for

    if (stopped := result["stopped"]) is not None:
        folder.update_json({"status": "stopped", "diagnosis": stopped["diagnosis"]}, "run.json")
        with contextlib.suppress(TrackingError):
            tracker.set_tags(run_id, {"manta.diagnosis": stopped["diagnosis"]})
        publish(
            folder,
            experiment,
            manifest,
            tracker,
            run_id,
            result,
            model=False,
            notify=request.notify,
        )
        _fail(folder, tracker, run_id, "FAILED", status="stopped")
        raise TrainingStopped(stopped["message"], diagnosis=stopped["diagnosis"])
    return publish(
        folder, experiment, manifest, tracker, run_id, result, model=True, notify=request.notify
    )


def preflight(experiment: Experiment) -> None:
    """Build what a worker will build, so that what cannot work is said now and once.

    Raises:
        ConfigError: the encoder, the objective or the optimizer refuses its configuration, or the
            other's.
    """
    encoder = encoders.build(experiment.encoder, image_size=experiment.data.image_size)
    if required(experiment):
        return  # another model decides its shapes, and is not there yet
    objective = objectives.build(
        experiment.objective, encoder, DataFacts(1_000, experiment.data.image_size)
    )
    Views(experiment.views, objective.needs, image_size=experiment.data.image_size)
    build_optimizer(objective, experiment.optimizer)


def _open_folder(request: RunRequest) -> tuple[RunFolder, Experiment]:
    experiment = request.experiment
    name = (
        request.name
        or f"{experiment.objective.name}-{experiment.encoder.name}-{datetime.now():%Y%m%d-%H%M%S}"
    )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise RunError(f"run name {name!r} may hold letters, digits, '.', '_' and '-' only")
    folder = RunFolder(f"{request.runs.rstrip('/')}/{name}")
    exists = folder.exists("experiment.yaml")
    if request.resume:
        if request.name is None:
            raise RunError("--resume needs the --name of the run to go on with")
        if not exists:
            raise RunError(
                f"there is no run {name!r} in {request.runs} to resume; leave --resume away to start it"
            )
        saved = load_experiment(folder)
        if saved.fingerprint() != experiment.fingerprint():
            raise RunError(
                f"run {name!r} was started with another configuration; resume it with the same recipe and overrides "
                f"(its own are in {folder.url_of('experiment.yaml')}), or choose another --name"
            )
        return folder, experiment
    if exists:
        doing = f" ({status(folder)})" if folder.exists("run.json") else ""
        raise RunError(
            f"run {name!r} exists in {request.runs}{doing}; go on with it by --resume, or choose another --name"
        )
    return folder, experiment


def _known_run_or_check(folder: RunFolder, tracker: Tracker) -> None:
    """A new run needs a store that answers; one that has its id already goes on without."""
    if not folder.exists("run.json"):
        _ = tracker.experiment_id


def _open_run(
    folder: RunFolder,
    experiment: Experiment,
    tracker: Tracker,
    manifest: Manifest,
    dataset: str,
    notify: Notify,
) -> str:
    """The MLflow run of this folder: the one that it had, or a new one."""
    known = folder.read_json("run.json") if folder.exists("run.json") else {}
    run_id = known.get("run_id")
    if run_id is None:
        run_id = tracker.create_run(
            folder.name,
            config=experiment.model_dump(mode="json"),
            tags=experiment.tracking.tags,
            git_commit=git_commit(),
            dataset=Dataset(folder.name, manifest.digest, experiment.data.source, manifest.rows),
        )
    else:
        try:
            tracker.resume(run_id)
        except TrackingError as error:
            notify(f"going on without the tracking server: {error}")
    facts = {
        "name": folder.name,
        "run_id": run_id,
        "status": "running",
        "diagnosis": None,
        "fingerprint": experiment.fingerprint(),
        "git_commit": git_commit(),
        "created": known.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": dataset,
        "digest": manifest.digest,
        "rows": manifest.rows,
        "tracking_uri": tracker.uri,
    }
    folder.write_json(known | facts, "run.json")
    return str(run_id)


def _fit(
    task: Task,
    experiment: Experiment,
    allotment: Allotment,
    folder: RunFolder,
    *,
    own_cluster: bool,
) -> dict[str, Any]:
    """Ray Train around the loop. A lost worker restarts the group, which goes on from the newest
    checkpoint."""
    from ray.train import FailureConfig, RunConfig

    from manta.training.trainer import make_trainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    config = RunConfig(
        name=f"attempt-{task.attempt}",
        storage_path=folder.url_of("ray"),
        failure_config=FailureConfig(max_failures=experiment.train.max_failures),
    )
    trainer = make_trainer(asdict(task), allotment, config, own_cluster=own_cluster)
    try:
        with interruptible():
            result = trainer.fit()
    except MantaError:
        raise
    except Exception as error:
        raise _as_user_error(error, folder) from error
    found = dict(result.return_value)
    if (failed := found.get("error")) is not None:
        raise getattr(errors, failed["kind"], RunError)(failed["message"])
    return found


def _as_user_error(error: Exception, folder: RunFolder) -> Exception:
    """The worker's own one-line error, if it had one; otherwise Ray's."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, MantaError):
                return cause
            cause = (
                getattr(cause, "_base_exc", None)
                or getattr(cause, "cause", None)
                or cause.__cause__
            )
    lines = [line for line in str(error).splitlines() if line.strip()]
    folder.write(str(error).encode(), "error.txt")
    last = lines[-1].strip() if lines else type(error).__name__
    trace = folder.url_of("error.txt")
    return RunError(
        f"training failed: {last} (whole trace: {trace}); --resume goes on from the last checkpoint"
    )


def _fail(
    folder: RunFolder,
    tracker: Tracker,
    run_id: str,
    mlflow_status: Status,
    *,
    status: str = "failed",
) -> None:
    folder.update_json({"status": status}, "run.json")
    with contextlib.suppress(
        TrackingError
    ):  # the folder says it; what ended the run is the error to show
        tracker.finish(run_id, mlflow_status)
