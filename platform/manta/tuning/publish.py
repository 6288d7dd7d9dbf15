"""What a study leaves: best.yaml, trials.parquet, study.html and a summary, also in MLflow."""

from __future__ import annotations

import io
import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from manta.config import Experiment
from manta.errors import RunError, TrackingError
from manta.report.study.page import write_study_page
from manta.report.study.record import StudyRecord
from manta.runs.store import Notify
from manta.tracking import Tracker
from manta.tuning.figures.console import failure_lines
from manta.tuning.figures.importance import importances
from manta.tuning.figures.pbt_schedule import SCHEDULE, best_path, schedule_figure
from manta.tuning.figures.plots import figures
from manta.tuning.study.metrics import REFERENCE, kendall
from manta.tuning.study.study import StoredStudy, open_study

BEST, PAGE, TABLE = "best.yaml", "study.html", "trials.parquet"


def publish(study: StoredStudy, record: StudyRecord, *, notify: Notify) -> dict[str, Any]:
    """Write everything that a study leaves.

    A tracking server that is away costs the upload, not the study.

    Returns:
        The summary.

    Raises:
        RunError: no trial came to its end.
    """
    best = record.best
    files = {TABLE: _parquet(record)}
    if best is not None:
        files[BEST] = winner(study, record).to_yaml().encode()
    path = best_path(study, record)
    if path is not None:
        files[SCHEDULE] = json.dumps(path, indent=1).encode()
        notify(
            f"trial {path['trial']} changed its values on the way: "
            f"{study.folder.url}/{SCHEDULE} holds them all"
        )
    files[PAGE], shares = page(study, record, path)
    for name, data in files.items():
        study.folder.write(data, name)
    tracker = Tracker(study.saved["tracking_uri"], study.recipe.tracking.experiment)
    run_id = study.saved["study_run_id"]
    try:
        with tempfile.TemporaryDirectory(prefix="manta-study-") as scratch:
            for name, data in (files | {"space.yaml": study.folder.read("space.yaml")}).items():
                Path(scratch, name).write_bytes(data)
            tracker.log_artifacts(run_id, scratch)
        if best is not None:
            tags = {"manta.best_trial": str(best.number), "manta.best_run": best.run_id or ""}
            tracker.set_tags(run_id, tags)
            tracker.log_metrics(
                run_id, {f"best_{key}": value for key, value in best.values.items()}
            )
        tracker.finish(run_id, "FINISHED" if best is not None else "FAILED")
    except TrackingError as error:
        notify(
            f"the tracking server does not have everything; all of it is in {study.folder.url}: "
            f"{error}"
        )
    # Only now: a study without a best trial has a page and a table too, which say why.
    if best is None:
        reasons = "; ".join(failure_lines(record)[:3])
        raise RunError(f"no trial of {record.name!r} came to its end: {reasons}")
    return summary(record, shares)


def summary(record: StudyRecord, shares: dict[str, float]) -> dict[str, Any]:
    """Return a study as plain data, which `--summary` writes."""
    keys = ("number", "params", "state", "value", "values", "epochs", "seconds", "run_id", "reason")

    def entry(trial: Any) -> dict[str, Any]:
        return {key: value for key, value in asdict(trial).items() if key in keys}

    default = record.default
    return {
        "name": record.name,
        "study_run_id": record.study_run_id,
        "metric": record.metrics,
        "trials": [entry(trial) for trial in record.trials],
        "best": None if record.best is None else entry(record.best),
        "default_value": None if default is None else default.value,
        "front": [trial.number for trial in record.front] if len(record.metrics) > 1 else None,
        "importances": shares,
        "kendall": trust(record),
    }


def winner(study: StoredStudy, record: StudyRecord) -> Experiment:
    """Return the best trial's configuration as a recipe, at the recipe's own budget.

    Raises:
        RunError: no trial came to its end.
    """
    best = record.best
    if best is None:
        raise RunError(f"study {record.name!r} has no trial that came to its end yet")
    drawn = study.drawn(best.number)
    recipe = study.recipe if drawn is None else study.space.apply(study.recipe, drawn)
    words = f"Trial {best.number} of study {record.name}: {record.metrics[0]} {best.value:.4g}"
    against = record.default
    if against is not None and against.value is not None and not best.default:
        words += f", the recipe's own configuration {against.value:.4g}"
    return recipe.model_copy(update={"description": f"{words}. {study.recipe.description}".strip()})


def trust(record: StudyRecord) -> dict[str, float | None]:
    """Return Kendall's tau of each label-free metric with kNN over the whole trials.

    Without labels there is none.
    """
    if not record.labelled:
        return {}
    return dict(kendall([trial.values for trial in record.complete], REFERENCE))


def page(
    study: StoredStudy, record: StudyRecord, path: dict[str, Any] | None
) -> tuple[bytes, dict[str, float]]:
    """Return study.html, and the parameters' importances.

    Args:
        path: what `best_path` gives.
    """
    taus = trust(record)
    found = study.load()
    plots, shares = figures(found, record, taus), importances(found, record)
    if path is not None:
        plots = {"The schedule that PBT found": schedule_figure(path)} | plots
    with tempfile.TemporaryDirectory(prefix="manta-study-") as scratch:
        url = study.folder.url
        written = write_study_page(
            Path(scratch), record, plots, shares, taus, storage=study.storage_url, url=url
        )
        return written.read_bytes(), shares


def refresh_study(runs: str, name: str) -> tuple[StudyRecord, dict[str, Any]]:
    """Return a study as it stands, running or not, and its summary. Its page is written anew.

    Raises:
        RunError: there is none of that name.
    """
    study = open_study(runs, name)
    record = study.record(study.trials())
    path = best_path(study, record)
    text, shares = page(study, record, path)
    study.folder.write(text, PAGE)
    if path is not None:
        study.folder.write_json(path, SCHEDULE)
    if record.best is not None:
        study.folder.write(winner(study, record).to_yaml().encode(), BEST)
    return record, summary(record, shares)


def _parquet(record: StudyRecord) -> bytes:
    """Return `trial_table` as a Parquet file."""
    buffer = io.BytesIO()
    trial_table(record).to_parquet(buffer)
    return buffer.getvalue()


def trial_table(record: StudyRecord) -> pd.DataFrame:
    """Return a row for each trial; parameters and metrics are columns."""
    rows = []
    for trial in record.trials:
        row: dict[str, Any] = {
            "number": trial.number,
            "state": trial.state,
            "value": math.nan if trial.value is None else trial.value,
            "epochs": trial.epochs,
            "seconds": trial.seconds,
            "run_id": trial.run_id,
            "reason": trial.reason,
            "default": trial.default,
        }
        row |= {f"values/{key}": value for key, value in trial.values.items()}
        row |= {f"params/{key}": _plain(value) for key, value in trial.params.items()}
        rows.append(row)
    table = pd.DataFrame(rows)
    for column in table:  # a choice may be a number in one trial and a word in the next
        if table[column].map(type).nunique() > 1 and not pd.api.types.is_numeric_dtype(
            table[column]
        ):
            table[column] = table[column].map(lambda value: None if pd.isna(value) else str(value))
    return table


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, str)) else json.dumps(value)
