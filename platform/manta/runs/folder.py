"""Folder of a run, on a local disk or an object store."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from manta.errors import RunError
from manta.files import Place


class RunFolder:
    """Folder `<root>/<name>` of a run, with methods that take the parts of a path in it.

    It holds experiment.yaml, run.json, lease.json, metrics.jsonl, checkpoints/, artifacts/ and
    report.html.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        place = Place.of(url)
        # Different spellings of one location become one URL: a resume compares folders by it.
        if not place.is_local:
            place = Place(str(place.fs.unstrip_protocol(place.path)))
        self.place = place

    @property
    def url(self) -> str:
        """Return the folder as an absolute path, or as a URL on an object store."""
        return self.place.url

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def is_local(self) -> bool:
        return self.place.is_local

    @property
    def local(self) -> Path:
        """Return the folder on this machine's disk.

        Raises:
            RunError: it is on an object store.
        """
        if not self.is_local:
            raise RunError(f"{self.url} is not a local folder; copy it here first")
        return Path(self.url)

    def at(self, *parts: str) -> Place:
        """Return the place of a file or sub-folder."""
        place = self.place
        for part in parts:
            place = place / part
        return place

    def url_of(self, *parts: str) -> str:
        """Return the path of a file or sub-folder, or its URL on an object store."""
        return self.at(*parts).url

    def exists(self, *parts: str) -> bool:
        return self.at(*parts).exists()

    def read(self, *parts: str) -> bytes:
        return self.at(*parts).read()

    def read_json(self, *parts: str) -> Any:
        return json.loads(self.read(*parts))

    def write(self, data: bytes, *parts: str) -> None:
        """Write a file atomically; create its sub-folder if needed."""
        self.at(*parts).write(data)

    def write_json(self, value: Any, *parts: str) -> None:
        self.write(json.dumps(value, indent=1).encode(), *parts)

    def update_json(self, changes: dict[str, Any], *parts: str) -> None:
        """Merge `changes` into a JSON object that may not exist yet."""
        current = self.read_json(*parts) if self.exists(*parts) else {}
        self.write_json(current | changes, *parts)

    def list(self, *parts: str) -> list[str]:
        """Return the sorted names in a sub-folder, without hidden ones; empty if there is none."""
        try:
            return sorted(name for name, _ in self.at(*parts).entries())
        except FileNotFoundError:
            return []

    def remove(self, *parts: str) -> None:
        """Delete a file, or a sub-folder with its content."""
        self.at(*parts).remove()


def default_cache(runs: str) -> str:
    """Return the folder into which raw sources are ingested by default."""
    return RunFolder(runs).url_of("datasets")


def local_copy(folder: RunFolder, name: str, *companions: str) -> Path:
    """Return a local path at which the file `name` of a run can be appended to.

    In a local folder that is the file itself. Otherwise it is a copy in a temporary folder, with
    the files `companions` beside it: object stores cannot append.
    """
    if folder.is_local:
        return folder.local / name
    scratch = Path(tempfile.mkdtemp(prefix="manta-run-"))
    for file in (name, *companions):
        if folder.exists(file):
            (scratch / file).write_bytes(folder.read(file))
    return scratch / name
