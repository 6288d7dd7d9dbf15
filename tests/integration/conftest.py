"""A tracking store that is migrated once, and a tracking server; the files that take longest come
first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking_server import Server

from manta.tracking import Tracker

LONGEST = (
    "test_tune_more",
    "test_tune",
    "test_train",
    "test_survival",
    "test_register",
    "test_embed",
    "test_promotion",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Else the last file runs alone for minutes; the sort keeps the order within files."""
    items.sort(
        key=lambda item: (
            LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)
        )
    )


@pytest.fixture(autouse=True)
def _no_uri_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store with its tables made, which takes seconds; tests copy it."""
    folder = tmp_path_factory.mktemp("store")
    assert Tracker(f"sqlite:///{folder}/mlflow.db", "nothing").experiment_id
    return folder / "mlflow.db"


@pytest.fixture
def tracker(migrated: Path, tmp_path: Path) -> Tracker:
    """The default store: `<runs_dir>/mlflow.db`."""
    (tmp_path / "runs").mkdir()
    shutil.copy(migrated, tmp_path / "runs" / "mlflow.db")
    return Tracker(runs_dir=tmp_path / "runs")


@pytest.fixture(scope="session")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, folder / "mlflow.db")
    running = Server(folder)
    running.start()
    yield running
    running.stop()
