"""Evaluations in the record of a model: numbers with the data that they are of, and the page as an
artifact."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manta.tracking._client import metric_name, refusals

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from manta.tracking.tracker import Tracker

FOLDER = "evaluations"
LONGEST_DIGEST = 36
METRICS_A_REQUEST = 500


def record_evaluation(
    tracker: Tracker,
    model: str,
    run_id: str | None,
    metrics: Mapping[str, float],
    *,
    data: str,
    digest: str,
    files: Sequence[Path],
    step: int | None = None,
) -> str | None:
    """Log `<data>/<metric>` on the model's run, at the step of its weights, and, where MLflow has a
    record of the model itself, on that too, with the dataset's name and digest; upload `files` to
    the run's `evaluations/<data>-<digest>-step-<step>/`; point to them from the version.

    Args:
        model: `models:/name@alias`, `models:/name/version`, or anything else.
        run_id: of the run that `model` is, if it is one.
        step: of the checkpoint that `model` is; None: what the run logged last.

    Returns:
        the id of the run that has it now; None where MLflow knows no run of the model's.

    Raises:
        TrackingError: the store refused.
    """
    if run_id is None and not model.startswith("models:/"):
        return None
    client = tracker.client
    with refusals("record the evaluation", tracker.uri):
        from mlflow.entities import Metric

        version = _version(tracker, model)
        run_id = version.run_id if version is not None else run_id
        if not run_id:
            return None
        model_id, step = _logged(tracker, run_id, version, step)
        now, short = int(time.time() * 1000), digest[:LONGEST_DIGEST]
        entries = [
            Metric(
                metric_name(f"{data}/{key}"),
                value,
                now,
                step,
                model_id=model_id,
                dataset_name=data,
                dataset_digest=short,
                run_id=run_id,
            )
            for key, value in metrics.items()
        ]
        for start in range(0, len(entries), METRICS_A_REQUEST):
            client.log_batch(run_id, metrics=entries[start : start + METRICS_A_REQUEST])
        folder = f"{FOLDER}/{data}-{digest[:8]}-step-{step}"
        for file in files:
            client.log_artifact(run_id, str(file), folder)
        if version is not None:
            client.set_model_version_tag(
                version.name, version.version, "manta.evaluation", f"runs:/{run_id}/{folder}"
            )
    return run_id


def _version(tracker: Tracker, model: str) -> ModelVersion | None:
    """Return the registry's entry; None for what is no registered model."""
    if not model.startswith("models:/"):
        return None
    target = model.removeprefix("models:/").strip("/")
    if "@" in target:
        return tracker.client.get_model_version_by_alias(*target.rsplit("@", 1))
    return tracker.client.get_model_version(*target.rsplit("/", 1)) if "/" in target else None


def exact_version(tracker: Tracker, model: str) -> str:
    """Return `models:/name@alias` as `models:/name/version`, since aliases move; anything else as
    it is.

    Raises:
        TrackingError: there is no such model.
    """
    if not model.startswith("models:/") or "@" not in model:
        return model
    with refusals(f"find {model}", tracker.uri):
        version = _version(tracker, model)
    return model if version is None else f"models:/{version.name}/{version.version}"


def _logged(
    tracker: Tracker, run_id: str, version: ModelVersion | None, step: int | None
) -> tuple[str | None, int]:
    """Return MLflow's id of the model that a version is, or that the run logged at `step` (None if
    none); and the step."""
    logged = tracker.client.get_run(run_id).outputs
    outputs = logged.model_outputs if logged else []
    # Database stores give no model_id by alias, but the source lies in the model's folder.
    if version is not None:
        mine = [
            one
            for one in outputs
            if one.model_id == version.model_id or str(one.model_id) in str(version.source)
        ]
        return (str(mine[-1].model_id), mine[-1].step) if mine else (None, 0)
    steps = {output.step: str(output.model_id) for output in outputs}
    step = max(steps, default=0) if step is None else step
    return steps.get(step), step
