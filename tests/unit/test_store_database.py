"""A half-made database of MLflow is made anew; anything of anybody's is left as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from manta.sqlite import sqlite_url
from manta.tracking._client import connect, prepare
from manta.tracking._database import made_whole


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as store:
        for statement in statements:
            store.execute(statement)
        store.commit()


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as store:
        return {name for (name,) in store.execute("SELECT name FROM sqlite_master")}


HALF = (
    "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY)",
    "CREATE TABLE runs (run_uuid TEXT)",
    "CREATE TABLE _alembic_tmp_metrics (key TEXT)",
    "CREATE TABLE alembic_version (version_num TEXT)",
    "INSERT INTO alembic_version VALUES ('451aebb31d03')",
)


def test_half_a_database_is_emptied(tmp_path: Path) -> None:
    execute(tmp_path / "mlflow.db", *HALF)
    with made_whole(str(tmp_path / "mlflow.db")):
        assert tables(tmp_path / "mlflow.db") == set()


@pytest.mark.parametrize(
    ("statements", "kept"),
    [
        (
            ["CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('Ada')"],
            "customers",
        ),
        (["CREATE TABLE customers (name TEXT)"], "customers"),
        ([*HALF, "CREATE TABLE customers (name TEXT)"], "experiments"),
        ([*HALF, "INSERT INTO runs VALUES ('a')"], "runs"),
        (["CREATE TABLE studies (id INTEGER)", "INSERT INTO studies VALUES (1)"], "studies"),
    ],
)
def test_what_is_not_surely_half_of_mlflow_is_left_alone(
    tmp_path: Path, statements: list[str], kept: str
) -> None:
    path = tmp_path / "data.db"
    execute(path, *statements)
    before = path.read_bytes()
    with made_whole(str(path)):
        assert kept in tables(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_to_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("not a database " * 100)
    with made_whole(str(path)):
        pass
    assert path.read_text() == "not a database " * 100


def test_the_tables_of_another_program_outlive_a_store_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    execute(path, "CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('Ada')")
    prepare()
    connect(sqlite_url(path)).search_experiments()
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT name FROM customers").fetchall() == [("Ada",)]
    assert "experiments" in tables(path)


def test_half_a_database_becomes_a_store(tmp_path: Path) -> None:
    execute(tmp_path / "mlflow.db", *HALF)
    prepare()
    found = connect(sqlite_url(tmp_path / "mlflow.db")).search_experiments()
    assert [one.name for one in found] == ["Default"]
