"""`manta.train` and `manta.estimate`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from manta.api.arguments import Overrides, PathLike, load_recipe
from manta.api.reporting import reporting
from manta.api.run_result import Run

if TYPE_CHECKING:
    from manta.config import Experiment


def train(
    recipe: PathLike | Experiment,
    *,
    data: PathLike | None = None,
    name: str | None = None,
    runs: PathLike = "manta-runs",
    resume: bool = False,
    overrides: Overrides = (),
    progress: bool = True,
    started: float | None = None,
) -> Run:
    """Pretrain an encoder without labels, evaluate it, register it in MLflow, and return the run.

    Ray is joined where it runs (`ray.init` before, or `RAY_ADDRESS`), else started on this machine
    until the process ends. An interrupt (Ctrl-C, or of a notebook's cell) keeps the last
    checkpoint; the same call with `name` and `resume=True` goes on with it.

    Args:
        recipe: as `manta.load_recipe` takes it.
        data: source of images; short for the override `data.source`.
        name: of the run and its folder; by default objective, encoder and time.
        runs: folder or URL (`s3://bucket/runs`) that holds the runs.
        resume: go on with the run of this `name`; a finished one is returned as it is.
        overrides: as `manta.load_recipe` takes them. Batch sizes count images over all workers,
            image sizes are pixels, epochs may be fractions.
        progress: whether notes and a bar are shown.
        started: seconds since 1970 from which `first_step_seconds` counts; None: this call.

    Returns:
        The finished run.

    Raises:
        ConfigError: a key or value cannot work.
        DataError: the source cannot be read.
        ResourceError: more workers, CPUs or GPUs than there can be.
        RunError: the name is taken, or there is nothing to resume.
        TrackingError: MLflow's store does not answer.
        TrainingStopped: the features collapsed or the loss was not finite; `diagnosis` says which.
        KeyboardInterrupt: as it came; the run's status is "interrupted".
    """
    from manta.training.run import RunRequest
    from manta.training.run import train as run_train

    begun = time.time() if started is None else started
    if resume and name is not None:
        _require_components(os.path.join(os.fspath(runs), name))
    experiment = load_recipe(recipe, overrides, data=data, progress=progress)
    with reporting(progress) as reporter:
        summary = run_train(
            RunRequest(
                experiment=experiment,
                runs=os.fspath(runs),
                name=name,
                resume=resume,
                started=begun,
                notify=reporter.notify,
                ingest_progress=reporter.ingest,
                watch_folder=reporter.training,
            )
        )
    return Run.of_summary(summary, runs)


def _require_components(run: str) -> None:
    """Check that what a run is resumed with is defined here, before a recipe is refused for it."""
    from manta.runs.folder import RunFolder
    from manta.runs.store import load_experiment

    folder = RunFolder(run)
    if folder.exists("experiment.yaml"):
        load_experiment(folder)


def estimate(
    recipe: PathLike | Experiment,
    *,
    data: PathLike | None = None,
    overrides: Overrides = (),
    runs: PathLike = "manta-runs",
) -> dict[str, Any]:
    """Return what a run would take, without starting anything.

    Args:
        recipe, data, overrides, runs: as `manta.train` takes them.

    Returns:
        Parameters, rows, steps and memory by name; rows and steps are None while the source is not
        ingested, and what depends on another model that the objective is built around.

    Raises:
        ConfigError: a key or value cannot work.
    """
    from manta.training.estimate import estimate as estimate_run

    return estimate_run(load_recipe(recipe, overrides, data=data), os.fspath(runs))
