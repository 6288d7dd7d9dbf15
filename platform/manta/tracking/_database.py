"""Database file of the default store: made whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_TABLES = ("experiments", "runs", "registered_models")
"""Tables of which one has rows in every store that was ever opened: MLflow adds an experiment."""


@contextmanager
def made_whole(path: str) -> Iterator[None]:
    """Run a block that opens a store, and makes its database if there is none.

    MLflow makes some fifty tables one by one, and can do nothing with the half of them that a full
    disk or a kill leaves behind. Such a file holds no row, and is emptied before.
    """
    if _has_rows(path):
        yield
        return
    with _locked(os.path.dirname(path)):
        if os.path.exists(path) and not _has_rows(path):
            _empty(path)
        yield


def _empty(path: str) -> None:
    """Drop all tables of a database.

    The file stays: an earlier attempt of this process may have it open.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1.0)) as store:
        store.execute("PRAGMA foreign_keys = OFF")
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for name in (name for (name,) in tables if not name.startswith("sqlite_")):
            store.execute(f'DROP TABLE "{name}"')
        store.commit()


def _has_rows(path: str) -> bool:
    """Return whether a database was in use; True also if that cannot be found out."""
    if not os.path.exists(path):
        return False
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as store:
            there = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
            counts = (f"SELECT EXISTS (SELECT 1 FROM {name})" for name in _TABLES if name in there)
            return any(store.execute(count).fetchone()[0] for count in counts)
    except sqlite3.Error:  # held by another process, or no database: MLflow's to say
        return True


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
