"""The winner of a study, trained at the recipe's own budget and put in the registry."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from manta.config import Experiment
from manta.data import IngestProgress
from manta.errors import RunError, TrackingError
from manta.models.register import register_run
from manta.report.study.record import StudyRecord
from manta.runs.folder import RunFolder
from manta.runs.store import Notify, load_experiment
from manta.tracking import Tracker
from manta.training.run import RunRequest, train
from manta.tuning.publish import winner
from manta.tuning.study.study import StoredStudy


def register_winner(
    study: StoredStudy,
    record: StudyRecord,
    *,
    runs: str,
    notify: Notify,
    ingest_progress: IngestProgress | None = None,
    watch_folder: Callable[[RunFolder, int], Callable[[], None]] | None = None,
) -> dict[str, Any]:
    """Train the best trial's configuration as a run of its own, and register it.

    The same call goes on with a run that was killed. The run is tagged with the study, and the
    study's run with it. It is registered whatever the recipe says.

    Returns:
        The run's summary.

    Raises:
        RunError: no trial came to its end.
        TrackingError: it is trained, and the store refused to register it.
    """
    best = record.best
    if best is None:
        reason = "no trial that came to its end; there is nothing to register"
        raise RunError(f"study {record.name!r} has {reason}")
    recipe = winner(study, record)
    tags = {
        "manta.study": record.name,
        "manta.study_run": study.saved["study_run_id"],
        "manta.trial": str(best.number),
    }
    tracking = recipe.tracking.model_copy(
        update={"register_model": True, "tags": recipe.tracking.tags | tags}
    )
    experiment = recipe.model_copy(update={"tracking": tracking})
    name, begun = run_name(record.name, best.number, experiment, runs)
    run = train(
        RunRequest(
            experiment=experiment,
            runs=runs,
            name=name,
            resume=begun,
            started=time.time(),
            notify=notify,
            ingest_progress=ingest_progress,
            watch_folder=watch_folder,
        )
    )
    if run["model_uri"] is None:
        # It was trained before without being registered, or the store was away when it ended.
        default = f"manta-{experiment.objective.name}-{experiment.encoder.name}"
        model = register_run(name, tracking.register_as or default, runs=runs, notify=notify)
        run = run | {"model_uri": model.uri}
    tracker = Tracker(study.saved["tracking_uri"], experiment.tracking.experiment)
    with contextlib.suppress(TrackingError):
        tracker.set_tags(run["run_id"], tags)
        registered = {
            "manta.registered_run": run["run_id"],
            "manta.registered_model": run["model_uri"],
        }
        tracker.set_tags(study.saved["study_run_id"], registered)
    return run


def run_name(study: str, number: int, experiment: Experiment, runs: str) -> tuple[str, bool]:
    """Return the name of the winner's run, and whether that run was begun before.

    Another winner of the same study, which has run more trials since, has another name.

    Raises:
        RunError: both names are taken by other runs.
    """
    for name in (f"{study}-best", f"{study}-best-{number}"):
        folder = RunFolder(f"{runs.rstrip('/')}/{name}")
        if not folder.exists("experiment.yaml"):
            return name, False
        if load_experiment(folder).fingerprint() == experiment.fingerprint():
            return name, True
    raise RunError(
        f"runs {study}-best and {study}-best-{number} exist in {runs} and are others; "
        "remove or rename one"
    )
