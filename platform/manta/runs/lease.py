"""Lease of a run's folder, which decides who may write into it, and the run's status from it."""

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
"""Seconds by which two readings of this machine's clock may disagree."""


class Lease:
    """Right to write into a run folder, which the newest attempt takes from older ones.

    A killed driver can leave behind a worker that goes on for a while (research/ray.md 1.3).
    Without a lease that worker would overwrite the files of the resumed attempt; with it, the
    worker notices and stops.
    """

    FILE = "lease.json"

    def __init__(self, folder: RunFolder, attempt: str) -> None:
        self.folder = folder
        self.attempt = attempt
        self._checked = 0.0

    @classmethod
    def take(cls, folder: RunFolder) -> Lease:
        """Return a new lease, which makes every earlier one invalid."""
        lease = cls(folder, uuid.uuid4().hex[:12])
        holder = {
            "attempt": lease.attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": time.time(),
        }
        folder.write_json(holder, cls.FILE)
        # Delete the drafts of a killed attempt; after the write, since that creates the folder.
        with suppress(OSError):
            folder.place.sweep()
        return lease

    def verify(self, *, at_most_every: float = 0.0) -> None:
        """Check that no other attempt has taken over.

        Args:
            at_most_every: seconds for which the result of the last check is still trusted.

        Raises:
            RunError: another attempt has taken over.
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
    """Return the status of a run from run.json, corrected where its process has died.

    A killed process cannot note that it was killed, so a run that is "running" without a living
    process is "interrupted". A process on another machine cannot be checked, and its status is
    returned as written.
    """
    stated = str(folder.read_json("run.json").get("status", "unknown"))
    if stated != "running" or not folder.exists(Lease.FILE):
        return stated
    holder = folder.read_json(Lease.FILE)
    if holder["host"] != socket.gethostname():
        return stated
    return stated if _lives(holder["pid"], holder["time"]) else "interrupted"


def _lives(pid: int, since: float) -> bool:
    """Return whether the process that had this id at the time `since` is still running."""
    # The system reuses ids: a process that was created after `since` is another one.
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and bool(process.create_time() < since + CLOCK_SLACK)
    except psutil.Error:
        return False
