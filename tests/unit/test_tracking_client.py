"""What of MLflow's client is decided here: places, names, messages, flat parameters."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from manta.errors import TrackingError
from manta.tracking._client import explain, metric_name, refusals, resolve_uri
from manta.tracking.tracker import Tracker, flatten


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_store_is_beside_the_runs_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert resolve_uri(None, Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert (tmp_path / "runs").is_dir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert resolve_uri(None, Path("runs")) == "http://server:5000"
    assert resolve_uri("sqlite:///x/y.db", Path("runs")) == f"sqlite:///{tmp_path}/x/y.db"
    assert resolve_uri("databricks", Path("runs")) == "databricks"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "./x"])
def test_folders_of_files_are_refused(uri: str) -> None:
    with pytest.raises(
        TrackingError, match=r"set MLFLOW_TRACKING_URI to sqlite:////path/mlflow\.db"
    ):
        resolve_uri(uri, Path("runs"))


def test_messages_are_short_and_without_secrets() -> None:
    assert explain(OSError("a\n  b")) == "a b"
    assert len(explain(OSError("x" * 1000))) == 303
    assert "does not answer" in explain(OSError("HTTPConnectionPool(host='h', port=1): retries"))
    with (
        pytest.raises(TrackingError) as caught,
        refusals("log it", "postgresql://me:first@host/x"),
    ):
        raise OSError("no route to postgresql://me:second@host/x?password=third")
    assert str(caught.value) == (
        "cannot log it at postgresql://me:***@host/x: "
        "no route to postgresql://me:***@host/x?password=***"
    )


def test_errors_of_others_pass() -> None:
    with pytest.raises(sqlite3.OperationalError), refusals("log it", "sqlite:///x"):
        raise sqlite3.OperationalError("not MLflow's")


def test_odd_names_are_made_fit() -> None:
    assert metric_name("val/knn top-1:k.5") == "val/knn top-1:k.5"
    assert metric_name("größe[%]") == "gr__e___"
    assert len(metric_name("x" * 300)) == 250


def test_parameters_are_flat() -> None:
    tree = {
        "objective": {"name": "simclr", "projector": {"hidden": None}},
        "views": [0.2, 1],
        "evaluators": [{"name": "knn", "k": 5}, {"name": "rank"}],
        "empty": {},
        "text": "x" * 7000,
    }
    flat = flatten(tree)
    assert flat["objective.projector.hidden"] == "None"
    assert flat["views"] == "[0.2, 1]"
    assert (flat["evaluators.0.k"], flat["evaluators.1.name"]) == ("5", "rank")
    assert flat["empty"] == "{}"
    assert len(flat["text"]) == 6000
    assert flat["text"].endswith("xxx...")


def test_half_a_database_is_made_anew(tmp_path: Path) -> None:
    """A full disk or a kill leaves some of its tables, with which MLflow can do nothing."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE registered_models (name VARCHAR(256) NOT NULL)")
    assert Tracker(runs_dir=tmp_path).experiment_id
    size = path.stat().st_size
    with closing(sqlite3.connect(path)) as store:
        names = [name for (name,) in store.execute("SELECT name FROM experiments")]
    assert set(names) >= {"manta"}
    # One with rows in it stays, whatever it is.
    assert Tracker(runs_dir=tmp_path, experiment="other").experiment_id
    assert path.stat().st_size >= size
    with closing(sqlite3.connect(path)) as store:
        names = [name for (name,) in store.execute("SELECT name FROM experiments")]
    assert set(names) >= {"manta", "other"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(sqlite3.OperationalError) database or disk is full", "the disk is full: "),
        ("attempt to write a readonly database", "cannot be written; let this user write it"),
        ("(sqlite3.OperationalError) database is locked", "another process holds"),
        ("file is not a database", "is damaged: move it away (mv "),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, text: str, reason: str) -> None:
    said = explain(RuntimeError(f"{text} [SQL: INSERT ...]"), f"sqlite:///{tmp_path}/mlflow.db")
    assert reason in said
    assert "SQL" not in said
