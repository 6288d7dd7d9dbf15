"""A run's folder, on a local disk or any fsspec URL, and the lease that says who may write into
it."""

from __future__ import annotations

import json
import os
import posixpath
import socket
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import fsspec
import psutil
from fsspec.implementations.local import LocalFileSystem

from manta.errors import RunError

CLOCK_SLACK = 60.0
"""Seconds that two readings of this machine's clock may disagree by."""


class RunFolder:
    """`<root>/<name>`: experiment.yaml, run.json, lease.json, metrics.jsonl, checkpoints/,
    artifacts/, report.html."""

    def __init__(self, url: str | Path) -> None:
        self.fs, path = fsspec.core.url_to_fs(str(url))
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.path = os.path.abspath(path) if self.is_local else path
        self.url = self.path if self.is_local else self.fs.unstrip_protocol(path)

    @property
    def name(self) -> str:
        return str(posixpath.basename(self.path.rstrip("/")))

    @property
    def local(self) -> Path:
        """The folder on this machine's disk.

        Raises:
            RunError: it is on an object store.
        """
        if not self.is_local:
            raise RunError(f"{self.url} is not a local folder; copy it here first")
        return Path(self.path)

    def join(self, *parts: str) -> str:
        return posixpath.join(self.path, *parts)

    def url_of(self, *parts: str) -> str:
        """Of something in the folder, as anybody opens it: a path on a disk, with the protocol on a
        store."""
        return posixpath.join(self.url, *parts)

    def exists(self, *parts: str) -> bool:
        return bool(self.fs.exists(self.join(*parts)))

    def read(self, *parts: str) -> bytes:
        return bytes(self.fs.cat_file(self.join(*parts)))

    def read_json(self, *parts: str) -> Any:
        return json.loads(self.read(*parts))

    def write(self, data: bytes, *parts: str) -> None:
        """Whole or not at all: a rename on a disk, one put on an object store."""
        target = self.join(*parts)
        if not self.is_local:
            self.fs.pipe_file(target, data)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        temporary = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)

    def write_json(self, value: Any, *parts: str) -> None:
        self.write(json.dumps(value, indent=1).encode(), *parts)

    def update_json(self, changes: dict[str, Any], *parts: str) -> None:
        """Merge `changes` into a JSON object that may not exist yet."""
        current = self.read_json(*parts) if self.exists(*parts) else {}
        self.write_json(current | changes, *parts)

    def list(self, *parts: str) -> list[str]:
        """Names in a sub-folder, sorted; none if it does not exist."""
        folder = self.join(*parts)
        if not self.fs.exists(folder):
            return []
        self.fs.invalidate_cache(folder)
        return sorted(posixpath.basename(p.rstrip("/")) for p in self.fs.ls(folder, detail=False))

    def remove(self, *parts: str) -> None:
        self.fs.rm(self.join(*parts), recursive=True)


def default_cache(runs: str) -> str:
    """Where raw sources are ingested to."""
    return RunFolder(runs).url_of("datasets")


def local_copy(folder: RunFolder, name: str, *companions: str) -> Path:
    """Where the file `name` of a run can be appended to: in a local folder itself, else in a copy
    on this machine."""
    if folder.is_local:
        return folder.local / name
    scratch = Path(tempfile.mkdtemp(prefix="manta-run-"))
    for file in (name, *companions):
        if folder.exists(file):
            (scratch / file).write_bytes(folder.read(file))
    return scratch / name


class Lease:
    """The right to write into a run folder. The newest attempt takes it; an older one notices and
    stops.

    A killed driver can leave a worker behind that goes on for a while (research/ray.md 1.3).
    Without a lease it would write over what the resumed attempt writes.
    """

    FILE = "lease.json"

    def __init__(self, folder: RunFolder, attempt: str) -> None:
        self.folder = folder
        self.attempt = attempt
        self._checked = 0.0

    @classmethod
    def take(cls, folder: RunFolder) -> Lease:
        """A new lease; every earlier one is void from now on."""
        lease = cls(folder, uuid.uuid4().hex[:12])
        holder = {
            "attempt": lease.attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": time.time(),
        }
        folder.write_json(holder, cls.FILE)
        return lease

    def verify(self, *, at_most_every: float = 0.0) -> None:
        """
        Args:
            at_most_every: seconds for which the last look still counts.

        Raises:
            RunError: another attempt has taken over.
        """
        now = time.monotonic()
        if self._checked and now - self._checked < at_most_every:
            return
        holder = self.folder.read_json(self.FILE)
        if holder["attempt"] != self.attempt:
            raise RunError(
                f"run {self.folder.name!r} was taken over by process {holder['pid']} on {holder['host']}; "
                "this attempt stops without writing"
            )
        self._checked = now


def status(folder: RunFolder) -> str:
    """What a run is doing: run.json's word, but "interrupted" where that is "running" and its
    process is gone.

    A killed process cannot write that it was. What runs on another machine is taken at its word.
    """
    stated = str(folder.read_json("run.json").get("status", "unknown"))
    if stated != "running" or not folder.exists(Lease.FILE):
        return stated
    holder = folder.read_json(Lease.FILE)
    if holder["host"] != socket.gethostname():
        return stated
    return stated if _lives(holder["pid"], holder["time"]) else "interrupted"


def _lives(pid: int, since: float) -> bool:
    """Whether the process that had this id at the time `since` still has it."""
    try:
        process = psutil.Process(pid)
        return bool(
            process.status() != psutil.STATUS_ZOMBIE and process.create_time() < since + CLOCK_SLACK
        )
    except psutil.Error:
        return False
