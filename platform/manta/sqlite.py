"""URLs of SQLite databases, of which SQLAlchemy reads some characters of a path as its own."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote

PREFIX = "sqlite:///"


def sqlite_url(path: str | os.PathLike[str]) -> str:
    """Return the URL by which SQLAlchemy opens the database at a local path, whatever its name.

    It is the plain path after `sqlite:///` wherever that will do.
    """
    text = os.path.abspath(os.fspath(path))
    plain = f"{PREFIX}{text}"
    if not any(mark in text for mark in "%?#"):
        return plain
    encoded = plain.replace("%", "%25").replace("?", "%3F")
    # Versions before 2.1 do not decode: SQLite itself reads the last form, which has no reserved
    # character for SQLAlchemy.
    for url in (plain, encoded):
        if sqlite_path(url) == text:
            return url
    return f"{PREFIX}file:{quote(text)}?uri=true"


def sqlite_path(url: str) -> str:
    """Return the path of the database that a `sqlite:///` URL names, absolute; "" for none."""
    from sqlalchemy.engine import make_url

    database = make_url(url).database or ""
    if database.startswith("file:"):
        database = unquote(database.removeprefix("file:").partition("?")[0])
    return os.path.abspath(database) if database else ""
