"""URLs of SQLite databases below folders of any name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from manta import doctor
from manta.sqlite import sqlite_path, sqlite_url
from manta.tracking import Tracker
from manta.tracking._client import resolve_uri
from manta.tuning.study.storage import open_storage

NAMES = [
    "plain", "a b", "My%20Photos", "50%", "q?b", "a#b", "q?b#c%25 [x]", "Фото", "a'b", 'a"b',
    "a&b=c", "a::b", "a@b:c", "{x}", "*x", "dot.", "~x", "$HOME", "\U0001f990", "-x", ":memory:",
    "a;b", "a\\b", "x" * 200, "file:x", "%2e%2e",
]  # fmt: skip


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / request.param
    made.mkdir()
    return made


def test_a_database_is_where_its_path_says(folder: Path) -> None:
    url = sqlite_url(folder / "x.db")
    assert sqlite_path(url) == str(folder / "x.db")
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE runs (id INTEGER)"))
    engine.dispose()
    assert [path.name for path in folder.iterdir()] == ["x.db"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_store_and_its_artifacts_lie_in_the_runs_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    tracker = Tracker(runs_dir="manta-runs")
    assert sqlite_path(tracker.uri) == str(folder / "manta-runs/mlflow.db")
    assert Tracker(tracker.uri).uri == tracker.uri
    assert resolve_uri("sqlite:///x.db", Path()) == sqlite_url(folder / "x.db")
    query = resolve_uri("sqlite:///x.db?timeout=5", Path())
    assert query == f"{sqlite_url(folder / 'x.db')}?timeout=5"
    sqlite3.connect(folder / "manta-runs/mlflow.db").close()
    check = doctor.tracking(folder / "manta-runs")
    assert (check.status, check.found) == ("ok", f"{tracker.uri}, 0 tables")


@pytest.mark.parametrize("name", ["My%20Photos", "q?b"])
def test_a_study_and_a_run_are_kept_in_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = tmp_path / name / "runs"
    tracker = Tracker(runs_dir=runs)
    run_id = tracker.create_run("one", config={"data": {"source": name}})
    (tmp_path / "page.html").write_text("page")
    tracker.log_artifact(run_id, tmp_path / "page.html", folder="pages")
    assert [one.path for one in tracker.client.list_artifacts(run_id, "pages")]
    (page,) = runs.glob(f"mlartifacts/{run_id}/artifacts/pages/page.html")
    assert page.read_text() == "page"
    open_storage(sqlite_url(runs / "study.db"))
    assert sorted(path.name for path in runs.iterdir()) == ["mlartifacts", "mlflow.db", "study.db"]
