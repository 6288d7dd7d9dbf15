"""Checks of the services that a run uses: the tracking store and Ray."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from urllib.parse import quote, urlsplit

from manta.doctor.check import Check, Status, nearest_existing
from manta.ray_folder import usual_ray_folder
from manta.secrets import without_secrets
from manta.sqlite import sqlite_path, sqlite_url
from manta.words import in_shell

_PATIENCE = 1.0
"""Seconds to wait for an answer of a server or database: one that is there needs far less."""
_DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "postgresql": 5432,
    "mysql": 3306,
    "mssql": 1433,
    "ray": 10001,
}


def tracking(runs: Path) -> Check:
    """Check the MLflow store that a run would use, by a socket or a file.

    It does not use MLflow's client, which retries for minutes if the server is dead.
    """
    default = sqlite_url((runs / "mlflow.db").resolve())
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default
    parts = urlsplit(uri)
    shown = without_secrets(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return _sqlite(Path(sqlite_path(uri)), shown)
    if scheme in ("", "file"):
        mend = f"export MLFLOW_TRACKING_URI={in_shell(default)}"
        return Check("tracking store", "bad", f"{shown}: MLflow 3 refuses folders of files", mend)
    if scheme not in _DEFAULT_PORTS or parts.hostname is None:
        return Check(
            "tracking store",
            "warn",
            f"{shown}: cannot be probed from here",
            "try: mlflow experiments search",
        )
    port = parts.port or _DEFAULT_PORTS[scheme]
    if not _answers(parts.hostname, port):
        mend = (
            f"start the server at {parts.hostname}:{port}, or unset MLFLOW_TRACKING_URI to keep "
            "runs in a local file"
        )
        return Check("tracking store", "bad", f"{shown} does not answer", mend)
    return Check("tracking store", "ok", f"{shown} answers")


def _sqlite(path: Path, shown: str) -> Check:
    name, quoted = "tracking store", in_shell(str(path))
    if not path.exists():
        place = nearest_existing(path.parent)
        if os.access(place, os.W_OK):
            return Check(name, "ok", f"{shown} (made by the first run)")
        return Check(
            name,
            "bad",
            f"{place} cannot be written",
            f"chmod u+w {in_shell(str(place))}, or set MLFLOW_TRACKING_URI",
        )
    if not os.access(path, os.W_OK):
        return Check(name, "bad", f"{path} cannot be written", f"chmod u+w {quoted}")
    try:
        # Read-only, since a plain connection would create or lock the database.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_PATIENCE
        )
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        return Check(
            name,
            "warn",
            f"{shown}: {error}",
            "another process may hold it: wait for it, then look again",
        )
    except sqlite3.DatabaseError as error:
        return Check(name, "bad", f"{shown}: {error}", f"move it away: mv {quoted} {quoted}.broken")
    return Check(name, "ok", f"{shown}, {tables} tables")


def ray_session() -> Check:
    """Check for the address of a dead cluster, which makes `ray.init` wait for minutes."""
    name = "Ray session"
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated == "local":
        return Check(name, "ok", "RAY_ADDRESS=local: every run starts its own")
    if stated and stated != "auto":
        answers = _address_answers(stated)
        mend = "" if answers else "unset RAY_ADDRESS, or start that cluster"
        return Check(
            name, "ok" if answers else "bad", f"RAY_ADDRESS={stated} {_words(answers)}", mend
        )
    note = Path(usual_ray_folder()) / "ray_current_cluster"
    left = note.read_text().strip() if note.is_file() else ""
    if not left:
        status: Status = "bad" if stated == "auto" else "ok"
        mend = "unset RAY_ADDRESS, or start a cluster: ray start --head" if stated else ""
        return Check(
            name,
            status,
            "no cluster runs here" + (", but RAY_ADDRESS=auto" if stated else ""),
            mend,
        )
    answers = _address_answers(left)
    mend = "" if answers else f"rm {in_shell(str(note))}"
    return Check(name, "ok" if answers else "warn", f"a cluster at {left} {_words(answers)}", mend)


def _words(answers: bool) -> str:
    return "answers" if answers else "does not answer"


def _address_answers(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 6379)
    return parts.hostname is not None and _answers(parts.hostname, port)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE):
            return True
    except OSError:
        return False
