"""Runs in MLflow, which the driver creates, resumes and finishes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manta.errors import TrackingError
from manta.secrets import without_secrets
from manta.sqlite import PREFIX, sqlite_path
from manta.tracking._client import connect, explain, metric_name, prepare, refusals, resolve_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]
LONGEST_PARAM = 6000
"""Longest value of a parameter, in characters, that MLflow's stores accept."""
LONGEST_DIGEST = 36
PARAMS_A_REQUEST = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """Dataset of a run: `digest` is its manifest's, `source` is as the user wrote it."""

    name: str
    digest: str
    source: str
    rows: int | None = None


class Tracker:
    """Experiment in a tracking store, with methods to write its runs.

    Every method raises TrackingError if the store refuses or does not answer. The first one opens
    the connection.

    Args:
        uri: of the store; None: MLFLOW_TRACKING_URI, else SQLite in `runs_dir`.
        experiment: name of the experiment; created if needed.
        runs_dir: folder for the default store, and for the artifacts of a database store.
    """

    def __init__(
        self,
        uri: str | None = None,
        experiment: str = "manta",
        *,
        runs_dir: str | Path = "manta-runs",
    ):
        prepare()
        self._runs_dir = Path(runs_dir).absolute()
        self.uri = resolve_uri(uri, self._runs_dir)
        self.experiment = experiment

    @cached_property
    def client(self) -> MlflowClient:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return connect(self.uri)
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            reason = explain(error, self.uri)
            raise TrackingError(
                f"no tracking store can be opened at {without_secrets(self.uri)}: {reason}"
            ) from error

    @cached_property
    def experiment_id(self) -> str:
        with self._asking("open the experiment"):
            experiment = self.client.get_experiment_by_name(self.experiment)
            if experiment is None:
                experiment = self._create_experiment()
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment {self.experiment!r} was deleted; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` or "
                "choose another tracking.experiment"
            )
        return str(experiment.experiment_id)

    def create_run(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        git_commit: str | None = None,
        dataset: Dataset | None = None,
        parent: str | None = None,
    ) -> str:
        """Start a run; record its configuration, code and dataset.

        Args:
            config: nested; its leaves become parameters with dotted names, cut to the length that
                the store accepts.
            git_commit: commit of the code that runs.
            parent: id of the study's run, if this run is one of its trials.

        Returns:
            the run's id.
        """
        from mlflow.entities import Param

        all_tags = {"mlflow.source.name": "manta", "mlflow.source.type": "LOCAL", **(tags or {})}
        if git_commit is not None:
            all_tags["mlflow.source.git.commit"] = git_commit
        if parent is not None:
            all_tags["mlflow.parentRunId"] = parent
        params = [Param(key, value) for key, value in flatten(config).items()]
        experiment_id = self.experiment_id
        # `experiment_id` above is outside the block: it may create the experiment, and an error
        # there should name the experiment.
        with self._asking("create the run"):
            run_id = str(
                self.client.create_run(experiment_id, run_name=name, tags=all_tags).info.run_id
            )
            for start in range(0, len(params), PARAMS_A_REQUEST):
                self.client.log_batch(run_id, params=params[start : start + PARAMS_A_REQUEST])
            if dataset is not None:
                self._log_dataset(run_id, dataset)
        return run_id

    def resume(self, run_id: str) -> None:
        """Mark a run as running again, after it ended or its driver died."""
        with self._asking(f"resume the run {run_id}"):
            self.client.update_run(run_id, status="RUNNING")

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with self._asking("tag the run"):
            self.client.log_batch(
                run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()]
            )

    def log_metrics(self, run_id: str, values: Mapping[str, float]) -> None:
        """Log values at step 0, such as a study's results; curves go through `MetricLog`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._asking("log metrics"):
            self.client.log_batch(
                run_id, metrics=[Metric(metric_name(k), v, now, 0) for k, v in values.items()]
            )

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        with self._asking("finish the run"):
            self.client.set_terminated(run_id, status=status)

    def log_artifact(self, run_id: str, path: str | Path, *, folder: str | None = None) -> None:
        """Upload one file, or a folder with its name, into the run's `folder`."""
        with self._asking(f"upload {path}"):
            self.client.log_artifact(run_id, str(path), folder)

    def log_artifacts(self, run_id: str, path: str | Path, *, folder: str | None = None) -> None:
        """Upload the content of the local folder `path` into the run's `folder`."""
        with self._asking(f"upload {path}"):
            self.client.log_artifacts(run_id, str(path), folder)

    def _asking(self, doing: str) -> AbstractContextManager[None]:
        _ = self.client  # opened outside of `refusals`, since it raises a message of its own
        return refusals(doing, self.uri)

    def _create_experiment(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            created = self.client.create_experiment(
                self.experiment, artifact_location=self._artifacts()
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self.client.get_experiment_by_name(
                self.experiment
            )  # another run was a moment earlier
        return self.client.get_experiment(created)

    def _artifacts(self) -> str | None:
        """Return the location of a new experiment's artifacts; None leaves it to the server."""
        # Always given for a database store: MLflow's default would be the working directory.
        if path := sqlite_path(self.uri) if self.uri.startswith(PREFIX) else "":
            return Path(path).with_name("mlartifacts").as_uri()
        if self.uri.startswith(("http://", "https://", "databricks")):
            return None
        return (self._runs_dir / "mlartifacts").as_uri()

    def _log_dataset(self, run_id: str, dataset: Dataset) -> None:
        from mlflow.entities import Dataset as Entity
        from mlflow.entities import DatasetInput, InputTag

        entity = Entity(
            name=dataset.name,
            digest=dataset.digest[:LONGEST_DIGEST],
            source_type="manta",
            source=json.dumps({"source": dataset.source, "digest": dataset.digest}),
            profile=json.dumps({"num_rows": dataset.rows}),
        )
        tag = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, [DatasetInput(entity, [tag])])


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return `{"a": {"b": 1}}` as `{"a.b": "1"}`.

    Mappings inside lists get their position as a key; other lists become JSON.
    """
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
            continue
        text = (
            json.dumps(value, default=str)
            if isinstance(value, (Mapping, list, tuple))
            else str(value)
        )
        flat[metric_name(name)] = (
            text if len(text) <= LONGEST_PARAM else f"{text[: LONGEST_PARAM - 3]}..."
        )
    return flat
