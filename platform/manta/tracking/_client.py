"""Connection to MLflow by `MlflowClient`.

Runs and models are always named by explicit ids. The fluent API is not used, because its active run
and its URIs are global to the process, which may have several runs.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from manta.disk import free_bytes, full_message, out_of_room, writing_to
from manta.errors import TrackingError
from manta.homes import prepare_home
from manta.proxies import bypass_proxies
from manta.secrets import without_secrets
from manta.sqlite import PREFIX, sqlite_path, sqlite_url
from manta.tracking._database import made_whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

_OTHER_STORE = "or set MLFLOW_TRACKING_URI to another store"
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow reads these at each request. By default it retries 7 times with a timeout of 120 s,
    # which holds up a caller for minutes when a server is gone.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def prepare() -> None:
    """Set what MLflow reads on import, unless the user has set it, and keep its logs quiet."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # A new SQLite store logs each of its migrations, and the registry that it may have to wait.
    for name in ("alembic", "mlflow.store.model_registry.abstract_store"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs the traceback of every error of a database that it raises, too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    prepare_home()
    bypass_proxies()


def connect(uri: str) -> MlflowClient:
    """Return a client of the store at `uri`, for tracking and registry; call `prepare` before."""
    from mlflow import MlflowClient

    path = sqlite_path(uri) if uri.startswith(PREFIX) else ""
    with made_whole(path) if path else nullcontext():
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def resolve_uri(uri: str | None, runs_dir: Path) -> str:
    """Return `uri`, else MLFLOW_TRACKING_URI, else an SQLite store in `runs_dir`.

    SQLite paths become absolute, since workers run in other folders.

    Raises:
        TrackingError: `uri` is a plain folder, which MLflow no longer supports as a store.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(runs_dir / "mlflow.db")
    if uri.startswith(PREFIX) and (path := sqlite_path(uri)):
        with writing_to(Path(path).parent):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        _, mark, query = uri.partition("?")
        return uri if uri.startswith(f"{PREFIX}file:") else f"{sqlite_url(path)}{mark}{query}"
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise TrackingError(
            f"MLflow no longer writes to the folder {uri!r}; set MLFLOW_TRACKING_URI to "
            "sqlite:////path/mlflow.db or http://server:port, or unset it"
        )
    return uri


@contextmanager
def refusals(doing: str, uri: str) -> Iterator[None]:
    """Turn every exception of MLflow into one line that says what was tried and where.

    Raises:
        TrackingError: in place of MLflow's exception, or one of the libraries below it.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        raise TrackingError(
            f"cannot {doing} at {without_secrets(uri)}: {explain(error, uri)}"
        ) from error


def explain(error: BaseException, uri: str = "") -> str:
    """Return an error's reason in one short line, without secrets.

    Args:
        uri: of the store; where it is a file, the line says what is wrong with that.
    """
    text = without_secrets(" ".join(str(error).split()))
    if uri.startswith(PREFIX) and (path := sqlite_path(uri)):
        reason = _of_file(error, path)
        if reason is not None:
            return reason
    if "HTTPConnectionPool" in text or "HTTPSConnectionPool" in text:
        return "the server does not answer; start it, or set MLFLOW_TRACKING_URI to one that runs"
    return text if len(text) <= 300 else f"{text[:300]}..."


def _of_file(error: BaseException, path: str) -> str | None:
    """Return what is wrong with the file of a database, or None."""
    text = str(error)
    full = out_of_room(error, path)
    if full is not None:
        # The error may name a file of another disk, such as an artifact's.
        return full_message(path) if "database or disk is full" in text else str(full)
    if "readonly database" in text or "unable to open database file" in text:
        return f"{path} cannot be written; let this user write it and its folder, {_OTHER_STORE}"
    if "database is locked" in text:
        return f"another process holds {path}; try again when it is done, {_OTHER_STORE}"
    if "disk I/O error" in text:
        return f"the disk of {path} fails ({free_bytes(path):,} bytes are free), {_OTHER_STORE}"
    if "malformed" in text or "not a database" in text:
        return f"{path} is damaged: move it away (mv {path} {path}.broken), {_OTHER_STORE}"
    return None


def metric_name(name: str) -> str:
    """Return a metric's name with the characters that MLflow refuses replaced."""
    # One odd name would make MLflow refuse the whole request, with all other metrics in it.
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]
