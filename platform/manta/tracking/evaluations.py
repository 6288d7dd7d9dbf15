"""Evaluations in MLflow's record of a model: metrics with their dataset, and the page."""

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
    """Record an evaluation on the run of a model, and on the model itself where MLflow has one.

    Metrics are logged as `<data>/<metric>` at the step of the model's weights, with the dataset's
    name and digest. `files` are uploaded to the run's `evaluations/<data>-<digest>-step-<step>/`,
    and a registered version gets a tag that points to them.

    Args:
        model: `models:/name@alias`, `models:/name/version`, or anything else.
        run_id: id of the run, if `model` is a run.
        step: step of the checkpoint, if `model` is one; None: that of the model logged last.

    Returns:
        the id of the run on which it is recorded; None if MLflow has no run of the model.

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
    """Return the registry's entry for a model; None if it is not a registered model."""
    if not model.startswith("models:/"):
        return None
    target = model.removeprefix("models:/").strip("/")
    if "@" in target:
        return tracker.client.get_model_version_by_alias(*target.rsplit("@", 1))
    return tracker.client.get_model_version(*target.rsplit("/", 1)) if "/" in target else None


def exact_version(tracker: Tracker, model: str) -> str:
    """Return `models:/name@alias` as `models:/name/version`, and any other model unchanged.

    An alias may move while an evaluation runs; a version stays the same.

    Raises:
        TrackingError: there is no such model.
    """
    if not model.startswith("models:/") or "@" not in model:
        return model
    with refusals(f"find {model}", tracker.uri):
        version = _version(tracker, model)
    return model if version is None else f"models:/{version.name}/{version.version}"


def run_of_version(tracker: Tracker, model: str) -> str | None:
    """Return the id of the run that a registered model is from; None for any other model.

    Raises:
        TrackingError: there is no such model.
    """
    with refusals(f"find {model}", tracker.uri):
        version = _version(tracker, model)
    return None if version is None else version.run_id or None


def _logged(
    tracker: Tracker, run_id: str, version: ModelVersion | None, step: int | None
) -> tuple[str | None, int]:
    """Return MLflow's id of the logged model (None if there is none), and its step.

    The model is that of `version` or else the one that the run logged at `step`.
    """
    logged = tracker.client.get_run(run_id).outputs
    outputs = logged.model_outputs if logged else []
    # A version found by alias in a database store has no model_id, but its source lies in the
    # model's folder, whose path contains the id.
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
