"""Connection to MLflow: `MlflowClient` with explicit ids, never the fluent API and its global
state."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from manta.errors import TrackingError
from manta.secrets import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow reads these at each request. Its own 7 retries of 120 s hold a caller for minutes when
    # a server is gone.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def prepare() -> None:
    """Set the environment that must stand before `import mlflow`; what the user has set stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # A fresh SQLite store announces its migrations, and the registry that it may have to wait.
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.WARNING)


def connect(uri: str) -> MlflowClient:
    """Return a client of the store at `uri`, for tracking and registry alike; `prepare` goes
    before."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def resolve_uri(uri: str | None, runs_dir: Path) -> str:
    """Return `uri`, else MLFLOW_TRACKING_URI, else an SQLite store in `runs_dir`.

    SQLite paths become absolute, since workers run in other folders.

    Raises:
        TrackingError: a plain folder, which MLflow has given up.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs_dir / 'mlflow.db'}"
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///")).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{path}"
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise TrackingError(
            f"MLflow no longer writes to the folder {uri!r}; set MLFLOW_TRACKING_URI to "
            "sqlite:////path/mlflow.db or http://server:port, or unset it"
        )
    return uri


@contextmanager
def refusals(doing: str, uri: str) -> Iterator[None]:
    """Turn MLflow's exceptions, whatever their kind, into one line of what was tried and where.

    Raises:
        TrackingError: instead of any of them.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        raise TrackingError(
            f"cannot {doing} at {without_secrets(uri)}: {explain(error)}"
        ) from error


def explain(error: BaseException) -> str:
    """Return the reason in one short line, without secrets."""
    text = without_secrets(" ".join(str(error).split()))
    if "HTTPConnectionPool" in text or "HTTPSConnectionPool" in text:
        return "the server does not answer; start it, or set MLFLOW_TRACKING_URI to one that runs"
    return text if len(text) <= 300 else f"{text[:300]}..."


def metric_name(name: str) -> str:
    """Return `name` with what MLflow does not take replaced, so that one odd name cannot hold up
    all the others."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]
