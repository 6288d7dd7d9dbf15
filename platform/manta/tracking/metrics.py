"""Log of metrics that is sent to MLflow in the background.

Training never waits for the server, and does not fail if the server does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from manta.errors import RunError
from manta.metric_log import SYSTEM, append, read_metrics
from manta.secrets import without_secrets
from manta.tracking import journal
from manta.tracking._client import connect, explain, metric_name, prepare
from manta.tracking.journal import Shipped

if TYPE_CHECKING:
    from mlflow import MlflowClient

INTERVAL = 2.0
"""Seconds between requests while the server answers: curves look live at this rate, and a run costs
the server one small request each time."""
LONGEST_PAUSE = 30.0
"""Most seconds between two attempts while the server does not answer."""
POINTS_A_REQUEST = 1000
"""MLflow's limit of metrics in one `log_batch`."""
BYTES_A_READ = 1 << 18
"""Bytes of the file read for one request, about: a backlog is not loaded into memory at once."""

_log = logging.getLogger(__name__)


class MetricLog:
    """Log of metrics in a local file, which a daemon thread sends to MLflow, retrying for ever.

    Each metric has one value per step. A value for the same or an earlier step is dropped, so that
    steps repeated after a resume are not logged twice. Names below `system/` are a series in time,
    to which this does not apply.

    Args:
        path: the file, `metrics.jsonl`. This log also sends what an earlier process left unsent.
        uri: of the tracking store.
        run_id: of the run, which must exist.
    """

    def __init__(self, path: str | Path, *, uri: str, run_id: str) -> None:
        self.path = Path(path)
        self._shipped_path = self.path.with_suffix(".shipped")
        self._uri, self._run_id = uri, run_id
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._client: MlflowClient | None = None
        self._silent = False  # whether the log has warned that the server does not answer
        self._last: dict[str, int] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        journal.mend(self.path)
        prepare()
        self._open()

    @property
    def step(self) -> int:
        """Return the last step for which training logged a metric."""
        return max(self._last.values(), default=0)

    @property
    def pending(self) -> int:
        """Return the number of points in the file that the server has not received."""
        return sum(
            len(self._shipped.missing(record))
            for record in read_metrics(self.path, offset=self._shipped.offset)
        )

    def rewind(self, step: int) -> None:
        """Remove what training logged after `step`, at which it resumes.

        Raises:
            RunError: `log` was called before.
        """
        if self._thread is not None:
            raise RunError("metrics are rewound before the first is logged, not after")
        self._file.close()
        journal.rewind(self.path, self._shipped_path, step)
        self._open()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of `step` without waiting for the server.

        An error of the disk or the server is a warning, since it must not stop training.
        """
        with self._lock:
            if self._closing.is_set():
                return
            fresh = {
                name: float(value) for name, value in metrics.items() if self._is_fresh(name, step)
            }
            self._last |= {name: step for name in fresh if not name.startswith(SYSTEM)}
            names = list(fresh)
            try:
                for start in range(0, len(names), POINTS_A_REQUEST):
                    part = names[start : start + POINTS_A_REQUEST]
                    append(self._file, step, {name: fresh[name] for name in part})
            except OSError as error:
                _log.warning(
                    "metrics of step %d are lost: %s cannot be written: %s", step, self.path, error
                )
            if self._thread is None:
                self._start()

    def close(self, timeout: float = 30.0) -> int:
        """Send what is left, for at most `timeout` seconds; return the number of points unsent."""
        with self._lock:
            if self._thread is None and self.pending:
                self._start()
            self._deadline = time.monotonic() + timeout
            self._closing.set()
            self._file.close()
        if self._thread is not None:
            # Longer than the thread's own deadline, so that it can note what it sent last. It is a
            # daemon: a request that hangs does not keep the process alive.
            self._thread.join(timeout + 1)
        return self.pending

    def _is_fresh(self, name: str, step: int) -> bool:
        return name.startswith(SYSTEM) or step > self._last.get(name, -1)

    def _open(self) -> None:
        """Open the file, and restore the last steps and the server's position."""
        # Open for as long as the run; unbuffered, so that closing the file cannot raise the error
        # of a full disk again.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._shipped = Shipped.load(self._shipped_path)
        # Copies of the two files from an object store may be of different moments, so that the file
        # is shorter than the position.
        self._shipped.offset = min(self._shipped.offset, self.path.stat().st_size)
        self._last = {}
        for record in read_metrics(self.path):
            if record.of_training:
                self._last |= {
                    name: max(record.step, self._last.get(name, -1)) for name in record.metrics
                }

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._ship, name="manta-metrics", daemon=True)
        self._thread.start()

    def _ship(self) -> None:
        """Send batches until the log is closed; the pauses double while the server fails."""
        pause = 0.0
        while True:
            # Read before the batch: what was logged until closing is then in the file, so an empty
            # batch after it means that all is sent.
            closing = self._closing.is_set()
            try:
                if self._ship_batch():
                    pause = 0.0
                elif closing:
                    return
                else:
                    pause = INTERVAL
                self._say(None)
            except Exception as error:
                # Any error of a server, proxy or database: training continues, and the file keeps
                # the points for a later attempt.
                self._say(error)
                pause = min(max(2 * pause, 1.0), LONGEST_PAUSE)
            if closing:
                if time.monotonic() >= self._deadline:
                    return
                time.sleep(min(pause, 0.5))
            else:
                self._closing.wait(pause)

    def _ship_batch(self) -> bool:
        """Send the points of up to one request; return False if there were none.

        If the server accepted a request but its answer was lost, the same request is sent again.
        MLflow keeps one of two points that are equal in name, step, time and value.
        """
        from mlflow.entities import Metric

        end = self._shipped.offset
        batch: list[Metric] = []
        for record in read_metrics(self.path, offset=end, limit=BYTES_A_READ):
            points = [
                Metric(metric_name(name), _storable(value), int(record.time * 1000), record.step)
                for name, value in self._shipped.missing(record).items()
            ]
            if batch and len(batch) + len(points) > POINTS_A_REQUEST:
                break
            batch += points
            end = record.end
        if end == self._shipped.offset:
            return False
        if batch:
            if self._client is None:
                self._client = connect(self._uri)
            self._client.log_batch(self._run_id, metrics=batch)
        # Only now that the server has them: after a kill, points are sent twice rather than never.
        after = Shipped(end, self._shipped.skip)
        after.save(self._shipped_path)
        self._shipped = after
        return True

    def _say(self, error: Exception | None) -> None:
        """Log one warning when the server stops answering, and one when it is back."""
        if (error is not None) == self._silent:
            return
        self._silent = error is not None
        if error is not None:
            _log.warning(
                "metrics wait in %s, since they cannot be sent to %s: %s",
                self.path,
                without_secrets(self._uri),
                explain(error, self._uri),
            )
        else:
            _log.warning(
                "the tracking server at %s is back; the metrics that waited are sent",
                without_secrets(self._uri),
            )


def _storable(value: float) -> float:
    """Return the value that MLflow gets: NaN in place of an infinity, else the value itself."""
    # MLflow would store an infinity as 1.8e308, which ruins every chart. The local file keeps it.
    return value if abs(value) != float("inf") else float("nan")
