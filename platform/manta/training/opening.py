"""Opening of a run's record in its folder and in MLflow, and closing it after a failure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from manta.config import Experiment
from manta.data import Manifest
from manta.errors import DiskFull, ResourceError, RunError, TrackingError
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.runs.store import Notify, git_commit, load_experiment
from manta.tracking import Dataset, Tracker
from manta.tracking.tracker import Status

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def open_folder(experiment: Experiment, runs: str, name: str | None, *, resume: bool) -> RunFolder:
    """Return the folder of a new run, or of the run to resume, without writing anything.

    Args:
        runs: folder or URL that holds the runs.
        name: of the run; None: objective, encoder and time.

    Raises:
        RunError: the name is taken, there is no run to resume, or it has another configuration.
    """
    if resume and name is None:
        raise RunError("--resume needs the --name of the run to go on with")
    now = f"{datetime.now():%Y%m%d-%H%M%S}"
    name = name or f"{experiment.objective.name}-{experiment.encoder.name}-{now}"
    if not re.fullmatch(NAME, name):
        raise RunError(f"run name {name!r} may hold letters, digits, '.', '_' and '-' only")
    folder = RunFolder(f"{runs.rstrip('/')}/{name}")
    exists = folder.exists("experiment.yaml")
    if resume:
        _check_same(experiment, folder, runs, exists=exists)
    elif exists:
        state = f" ({status(folder)})" if folder.exists("run.json") else ""
        raise RunError(
            f"run {name!r} exists in {runs}{state}; go on with it by --resume, or choose another "
            "--name"
        )
    return folder


def check_store(folder: RunFolder, tracker: Tracker) -> None:
    """Check that the tracking store answers, if the run has no id in it yet.

    A resumed run has its id already, and can continue while the store is away.

    Raises:
        TrackingError: the store does not answer.
    """
    if not folder.exists("run.json"):
        _ = tracker.experiment_id


def open_run(
    folder: RunFolder,
    experiment: Experiment,
    tracker: Tracker,
    manifest: Manifest,
    dataset: str,
    notify: Notify,
    *,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Create the MLflow run of a folder, or resume its earlier one; return the id.

    This writes `run.json`.

    Args:
        tags: of the MLflow run, besides those of the configuration.
    """
    # The id survives in run.json: a resume continues the same MLflow run and its curves.
    before = folder.read_json("run.json") if folder.exists("run.json") else {}
    run_id = before.get("run_id")
    if run_id is None:
        run_id = tracker.create_run(
            folder.name,
            config=experiment.model_dump(mode="json"),
            tags={**experiment.tracking.tags, **(tags or {})},
            git_commit=git_commit(),
            dataset=Dataset(folder.name, manifest.digest, experiment.data.source, manifest.rows),
        )
    else:
        # A resume needs nothing from the server: metrics wait in the run's file until it is back.
        try:
            tracker.resume(run_id)
        except TrackingError as error:
            notify(f"going on without the tracking server: {error}")
    record = {
        "name": folder.name,
        "run_id": run_id,
        "status": "running",
        "diagnosis": None,
        "fingerprint": experiment.fingerprint(),
        "git_commit": git_commit(),
        "created": before.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": dataset,
        "digest": manifest.digest,
        "rows": manifest.rows,
        "stats": manifest.stats,
        "tracking_uri": tracker.uri,
    }
    folder.write_json(before | record, "run.json")
    return str(run_id)


def close_failed(
    folder: RunFolder,
    tracker: Tracker,
    run_id: str,
    mlflow_status: Status,
    *,
    status: str = "failed",
) -> None:
    """Record in the folder and in MLflow that a run has ended without success."""
    # A full disk may be what ended it; the lease then tells that the process is gone.
    with contextlib.suppress(ResourceError):
        folder.update_json({"status": status}, "run.json")
    # The folder has the status by now. The error to show is the one that ended the run, not that
    # the server is away.
    with contextlib.suppress(TrackingError):
        tracker.finish(run_id, mlflow_status)


def _check_same(experiment: Experiment, folder: RunFolder, runs: str, *, exists: bool) -> None:
    if not exists:
        raise RunError(
            f"there is no run {folder.name!r} in {runs} to resume; leave --resume away to start it"
        )
    if load_experiment(folder).fingerprint() != experiment.fingerprint():
        raise RunError(
            f"run {folder.name!r} was started with another configuration; resume it with the same "
            f"recipe and overrides (its own are in {folder.url_of('experiment.yaml')}), or choose "
            "another --name"
        )


@contextlib.contextmanager
def naming_resume(folder: RunFolder, begun: str) -> Iterator[None]:
    """Run the block; if the disk is full, say how what is begun in a folder goes on.

    Args:
        begun: file that the folder of a run or study has once it is begun.

    Raises:
        DiskFull: with `--resume` in its line.
    """
    try:
        yield
    except DiskFull as error:
        if folder.exists(begun):
            error.args = (f"{error}, with --name {folder.name} --resume", *error.args[1:])
        raise
