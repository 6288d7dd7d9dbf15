"""Log of metrics that travels to MLflow in the background: training never waits for the server,
nor fails with it."""

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
"""Seconds between requests while the server keeps up."""
LONGEST_PAUSE = 30.0
"""Seconds between attempts, at most, while it does not."""
POINTS_A_REQUEST = 1000
BYTES_A_READ = 1 << 18

_log = logging.getLogger(__name__)


class MetricLog:
    """Appends to a local file and ships it from a daemon thread, for ever retrying.

    Each name has one value a step: what comes again, or late, is dropped, so a replay after a
    resume repeats nothing. Names below `system/` are a series in time and exempt.

    Args:
        path: the file, `metrics.jsonl`. What an earlier process left in it unshipped is shipped by
            this one.
        uri, run_id: of the run, which exists.
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
        self._silent = False  # whether it was said that the server does not answer
        self._last: dict[str, int] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        journal.mend(self.path)
        prepare()
        self._open()

    @property
    def step(self) -> int:
        """Return the last step that training logged."""
        return max(self._last.values(), default=0)

    @property
    def pending(self) -> int:
        """Return the number of points in the file that the server does not have."""
        return sum(
            len(self._shipped.missing(record))
            for record in read_metrics(self.path, offset=self._shipped.offset)
        )

    def rewind(self, step: int) -> None:
        """Forget what training logged after `step`, where it resumes. Before the first `log`."""
        if self._thread is not None:
            raise RunError("metrics are rewound before the first is logged, not after")
        self._file.close()
        journal.rewind(self.path, self._shipped_path, step)
        self._open()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take numbers of `step`. Returns at once, and raises nothing that a disk or a server has
        to say."""
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
        """Ship what is left, for at most `timeout` seconds; return the points that are still only
        in the file."""
        with self._lock:
            if self._thread is None and self.pending:
                self._start()
            self._deadline = time.monotonic() + timeout
            self._closing.set()
            self._file.close()
        if self._thread is not None:
            self._thread.join(timeout + 1)
        return self.pending

    def _is_fresh(self, name: str, step: int) -> bool:
        return name.startswith(SYSTEM) or step > self._last.get(name, -1)

    def _open(self) -> None:
        """Go on from what the file says."""
        # Open as long as the run is; unbuffered, so that a full disk does not come up again when it
        # is closed.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._shipped = Shipped.load(self._shipped_path)
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
        pause = 0.0
        while True:
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
                # Whatever a server, a proxy or a database has to say, training goes on and the file
                # keeps the points.
                self._say(error)
                pause = min(max(2 * pause, 1.0), LONGEST_PAUSE)
            if closing:
                if time.monotonic() >= self._deadline:
                    return
                time.sleep(min(pause, 0.5))
            else:
                self._closing.wait(pause)

    def _ship_batch(self) -> bool:
        """Send up to a request's worth of points. Returns False when there was nothing.

        A request that the server took but whose answer was lost is sent again, unchanged; MLflow
        keeps one of two points that are equal in name, step, time and value.
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
        after = Shipped(end, self._shipped.skip)
        after.save(self._shipped_path)
        self._shipped = after
        return True

    def _say(self, error: Exception | None) -> None:
        """Log one line when the server falls silent and one when it is back."""
        if (error is not None) == self._silent:
            return
        self._silent = error is not None
        if error is not None:
            _log.warning(
                "metrics wait in %s, since they cannot be sent to %s: %s",
                self.path,
                without_secrets(self._uri),
                explain(error),
            )
        else:
            _log.warning(
                "the tracking server at %s is back; the metrics that waited are sent",
                without_secrets(self._uri),
            )


def _storable(value: float) -> float:
    """MLflow stores NaN, but an infinity as 1.8e308, which no chart survives; the local file keeps
    it."""
    return value if abs(value) != float("inf") else float("nan")
