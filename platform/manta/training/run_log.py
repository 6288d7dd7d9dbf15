"""The metrics of a run in training: a file, MLflow behind it, and a copy on an object store."""

from __future__ import annotations

import contextlib
from typing import Any

from manta.runs.folder import RunFolder, local_copy
from manta.runs.lease import Lease
from manta.tracking import MetricLog, SystemSampler
from manta.training.task import Task

LEASE_SECONDS = 5.0
"""How long a worker writes metrics without looking whether the run is still its own."""


class RunLog:
    """The metric log of a run, which rank 0 writes; on other ranks it does nothing.

    A run without an id in MLflow has no log at all.
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
            force: ask the store now whether the run is still this worker's.

        Raises:
            RunError: another process has taken the run over.
        """
        if self._metrics is not None:
            # First the lease: a worker that was thought lost must not write into its successor's
            # log.
            self.lease.verify(at_most_every=0.0 if force else LEASE_SECONDS)
            self._metrics.log(step, numbers)

    def rewind(self, step: int) -> None:
        """Take out what was logged after `step` steps: it is trained again."""
        if self._metrics is not None:
            self._metrics.rewind(step)

    def mirror(self) -> None:
        """Copy the log into a folder on an object store, where a resume elsewhere needs it.

        The log of such a run is written on this machine; that of a local one is in its folder.
        """
        if self._metrics is None or self.folder.is_local:
            return
        path = self._metrics.path
        for file in (path, path.with_suffix(".shipped")):
            if file.exists():
                self.folder.write(file.read_bytes(), file.name)

    def sampling(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which the load of the machine is logged too."""
        if self._metrics is None:
            return contextlib.nullcontext()
        return SystemSampler(self._metrics)

    def close(self, timeout: float) -> int:
        """Wait for the tracking server; return the number of points that it does not have."""
        return self._metrics.close(timeout=timeout) if self._metrics is not None else 0
