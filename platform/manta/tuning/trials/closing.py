"""What follows each trial of a study, and what people see of it meanwhile."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from manta.errors import TrackingError
from manta.report.study.record import TrialRecord
from manta.runs.folder import RunFolder, local_copy
from manta.tracking import MetricLog, Tracker
from manta.tuning.study.storage import Outcome

_log = logging.getLogger(__name__)

CHECKPOINTS, METRICS, SHIPPED = "checkpoints", "metrics.jsonl", "metrics.shipped"
SHIP_SECONDS = 20.0
"""How long the end of a study waits for the tracking server to take what a trial left behind."""


class Aftercare:
    """Closes what a trial left open, beside the search: its run in MLflow, its folder, its
    checkpoints.

    A trial that was stopped or failed is not gone on with, so its checkpoints are removed.

    Args:
        keep: until the end, since others may take them over.
    """

    def __init__(self, tracker: Tracker, trials: RunFolder, *, keep: bool = False) -> None:
        self.tracker, self.trials, self.keep = tracker, trials, keep
        self._spent: list[str] = []
        self._ended: dict[str, str] = {}  # folder -> run
        self._untold: list[tuple[str, Outcome]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="manta-aftercare")

    def settle(self, past: Iterable[TrialRecord]) -> None:
        """See to trials that ended in an earlier attempt, the driver of which may have been killed
        right then."""
        for trial in past:
            self.trial_ended(trial, Outcome(trial.state, trial.reason, trial.values))

    def trial_ended(self, trial: TrialRecord, outcome: Outcome) -> None:
        self._pool.submit(self._settle, trial, outcome).add_done_callback(_complain)

    def close(self) -> bool:
        """Wait until all is done. A trial that was stopped may have finished writing a checkpoint
        meanwhile.

        What the tracking server missed while it was away, it gets now.

        Returns:
            whether it has everything of the trials that ended.
        """
        self._pool.shutdown(wait=True)
        for name in self._spent:
            self._remove_checkpoints(name)
        untold, self._untold = self._untold, []
        # One that is away still is asked once, not for each trial.
        return all(self._tell(*what) for what in untold) and all(
            self._ship(*what) for what in self._ended.items()
        )

    def interrupted(self, running: Iterable[TrialRecord]) -> None:
        """The driver stops, and these with it; a resume goes on with them."""
        for trial in running:
            run_id = self._run_id(trial)
            if run_id is not None:
                with contextlib.suppress(TrackingError):
                    self.tracker.finish(run_id, "KILLED")

    def _run_id(self, trial: TrialRecord) -> str | None:
        """A trial that died before its first rung has told its run to its folder only."""
        name = f"{trial.number:04d}"
        if trial.run_id is None and self.trials.exists(name, "run.json"):
            return str(self.trials.read_json(name, "run.json")["run_id"])
        return trial.run_id

    def _settle(self, trial: TrialRecord, outcome: Outcome) -> None:
        name = f"{trial.number:04d}"
        if self.trials.exists(name, "run.json"):
            self.trials.update_json(
                {"status": outcome.state, "reason": outcome.reason}, name, "run.json"
            )
        if outcome.state != "complete":
            self._spent.append(name)
            if not self.keep:
                self._remove_checkpoints(name)
        run_id = self._run_id(trial)
        if run_id is not None:
            self._ended[name] = run_id
            self._tell(run_id, outcome)

    def _tell(self, run_id: str, outcome: Outcome) -> bool:
        """How a trial ended, to the tracking server. Returns whether it took that."""
        tags = {"manta.state": outcome.state} | (
            {"manta.reason": outcome.reason} if outcome.reason else {}
        )
        try:
            self.tracker.set_tags(run_id, tags)
            self.tracker.finish(run_id, "FAILED" if outcome.state == "failed" else "FINISHED")
        except TrackingError:
            self._untold.append((run_id, outcome))
            return False
        return True

    def _ship(self, name: str, run_id: str) -> bool:
        """Send what waits in a trial's folder. Returns whether nothing waits there now."""
        folder = RunFolder(f"{self.trials.url}/{name}")
        if not folder.exists(METRICS):
            return True
        path = local_copy(folder, METRICS, SHIPPED)
        log = MetricLog(path, uri=self.tracker.uri, run_id=run_id)
        before = log.pending
        left = log.close(timeout=SHIP_SECONDS)
        if left < before and not folder.is_local:
            folder.write(path.with_name(SHIPPED).read_bytes(), SHIPPED)
        return left == 0

    def _remove_checkpoints(self, name: str) -> None:
        with contextlib.suppress(OSError):  # it is being written to
            if self.trials.exists(name, CHECKPOINTS):
                self.trials.remove(name, CHECKPOINTS)


def _complain(done: Future[None]) -> None:
    """What goes wrong beside the search does not end it, and is said."""
    if (error := done.exception()) is not None:
        _log.warning("a trial that ended was not closed properly: %s", error)
