"""Database file of an SQLite store: made whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module

_FILLED_AT_ONCE = frozenset(("alembic_version", "workspaces"))
"""Tables into which MLflow's migrations write rows; in all others a row is somebody's work."""
_DRAFTS = "_alembic_tmp_"
"""Begin of the names of tables that a migration copies another one to."""


@contextmanager
def made_whole(path: str) -> Iterator[None]:
    """Run a block that opens a store, and makes its database if there is none.

    MLflow makes some fifty tables one by one, and can do nothing with the half of them that a full
    disk or a kill leaves behind. Such a file is emptied before. A file with a row in it, or with
    a table that is not MLflow's, is never touched.
    """
    if _in_use(path):
        yield
        return
    # Locked, so that what another process is making now is not taken for the half of a dead one's.
    with _locked(os.path.dirname(path)):
        if _is_half_made(path):
            _empty(path)
        yield


def _in_use(path: str) -> bool:
    """Return whether a store was opened before: MLflow then adds an experiment.

    This is the usual case, and tells it without the import of MLflow's tables.
    """
    if not os.path.exists(path):
        return False
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1.0)) as store:
        return _has_row(store, "experiments")
    return False


def _is_half_made(path: str) -> bool:
    """Return whether a file holds some of MLflow's tables, nothing else, and no row of anyone."""
    if not os.path.exists(path):
        return False
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as store:
            names = _tables(store)
            return (
                bool(names)
                and all(_is_of_mlflow(name) for name in names)
                and not any(_has_row(store, name) for name in names - _FILLED_AT_ONCE)
            )
    except sqlite3.Error:  # held by another process, or no database: MLflow's to say
        return False


def _is_of_mlflow(table: str) -> bool:
    from mlflow.store.db.base_sql_model import Base

    for part in ("tracking", "model_registry"):  # each registers its tables
        import_module(f"mlflow.store.{part}.dbmodels.models")
    known = Base.metadata.tables
    return table in known or table in _FILLED_AT_ONCE or table.startswith(_DRAFTS)


def _tables(store: sqlite3.Connection) -> set[str]:
    listed = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in listed if not name.startswith("sqlite_")}


def _has_row(store: sqlite3.Connection, table: str) -> bool:
    return bool(store.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")').fetchone()[0])


def _empty(path: str) -> None:
    """Drop all tables of a database.

    The file stays: an earlier attempt of this process may have it open.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1.0)) as store:
        store.execute("PRAGMA foreign_keys = OFF")
        for name in _tables(store):
            store.execute(f'DROP TABLE "{name}"')
        store.commit()


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold a lock of a folder, so that one process at a time makes a database in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
