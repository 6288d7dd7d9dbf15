"""The lease that says who may write into a run's folder, and what the run is doing by it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress

import psutil

from manta.errors import RunError
from manta.runs.folder import RunFolder

CLOCK_SLACK = 60.0
"""Seconds that two readings of this machine's clock may disagree by."""


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
        """Return a new lease; every earlier one is void from now on."""
        lease = cls(folder, uuid.uuid4().hex[:12])
        holder = {
            "attempt": lease.attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": time.time(),
        }
        folder.write_json(holder, cls.FILE)
        # After the write, which creates the folder: drafts of an attempt that was killed.
        with suppress(OSError):
            folder.place.sweep()
        return lease

    def verify(self, *, at_most_every: float = 0.0) -> None:
        """Check that no other attempt has taken over.

        Args:
            at_most_every: seconds for which the last look still counts.

        Raises:
            RunError: another attempt has.
        """
        now = time.monotonic()
        if self._checked and now - self._checked < at_most_every:
            return
        holder = self.folder.read_json(self.FILE)
        if holder["attempt"] != self.attempt:
            raise RunError(
                f"run {self.folder.name!r} was taken over by process {holder['pid']} "
                f"on {holder['host']}; this attempt stops without writing"
            )
        self._checked = now


def status(folder: RunFolder) -> str:
    """Return what a run is doing: the word in run.json, but "interrupted" where that is "running"
    and its process is gone.

    A killed process cannot write that it was killed. A run on another machine is believed.
    """
    stated = str(folder.read_json("run.json").get("status", "unknown"))
    if stated != "running" or not folder.exists(Lease.FILE):
        return stated
    holder = folder.read_json(Lease.FILE)
    if holder["host"] != socket.gethostname():
        return stated
    return stated if _lives(holder["pid"], holder["time"]) else "interrupted"


def _lives(pid: int, since: float) -> bool:
    """Return whether the process that had this id at the time `since` still has it."""
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and bool(process.create_time() < since + CLOCK_SLACK)
    except psutil.Error:
        return False
