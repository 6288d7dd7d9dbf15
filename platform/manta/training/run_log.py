"""Log of a run's metrics: a local file, MLflow behind it, and a copy on an object store."""

from __future__ import annotations

import contextlib
from typing import Any

from manta.runs.folder import RunFolder, local_copy
from manta.runs.lease import Lease
from manta.tracking import MetricLog, SystemSampler
from manta.training.task import Task

LEASE_SECONDS = 5.0
"""Seconds for which a worker writes metrics without checking its lease again. A check reads a file,
on an object store by a request, which would be too slow at every step."""


class RunLog:
    """Metric log of a run, which rank 0 writes; on other ranks its methods do nothing.

    A run without an id in MLflow has no log either.
    """

    def __init__(self, folder: RunFolder, lease: Lease, task: Task, *, rank: int) -> None:
        self.folder = folder
        self.lease = lease
        self._metrics: MetricLog | None = None
        if rank == 0 and task.run_id:
            path = local_copy(folder, "metrics.jsonl", "metrics.shipped")
            self._metrics = MetricLog(path, uri=task.tracking_uri, run_id=task.run_id)

    def write(self, step: int, numbers: dict[str, float], *, force: bool = False) -> None:
        """Log numbers after `step` steps.

        Args:
            force: check the lease now, however recent the last check.

        Raises:
            RunError: another process has taken the run over.
        """
        if self._metrics is not None:
            # The lease is checked first: a worker that was believed lost must not write into the
            # log of its successor.
            self.lease.verify(at_most_every=0.0 if force else LEASE_SECONDS)
            self._metrics.log(step, numbers)

    def rewind(self, step: int) -> None:
        """Remove what was logged after `step` steps, which are now trained again."""
        if self._metrics is not None:
            self._metrics.rewind(step)

    def mirror(self) -> None:
        """Copy the log to the run's folder if that is on an object store.

        Such a run writes its log on this machine, and a resume on another one needs it. The log of
        a local run is in its folder anyway.
        """
        if self._metrics is None or self.folder.is_local:
            return
        path = self._metrics.path
        for file in (path, path.with_suffix(".shipped")):
            if file.exists():
                self.folder.write(file.read_bytes(), file.name)

    def sampling(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which the machine's load is logged too."""
        if self._metrics is None:
            return contextlib.nullcontext()
        return SystemSampler(self._metrics)

    def close(self, timeout: float) -> int:
        """Wait for the tracking server; return the number of points that it has not received."""
        return self._metrics.close(timeout=timeout) if self._metrics is not None else 0
