"""What follows each trial of a study: its run in MLflow, its folder and its checkpoints."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from manta.errors import TrackingError
from manta.report.study.record import TrialRecord
from manta.runs.folder import RunFolder, local_copy
from manta.tracking import MetricLog, Tracker
from manta.tuning.study.folders import trial_name
from manta.tuning.study.storage import Outcome

_log = logging.getLogger(__name__)

CHECKPOINTS, METRICS, SHIPPED = "checkpoints", "metrics.jsonl", "metrics.shipped"
RUN = "run.json"
SHIP_SECONDS = 20.0
"""How long the end of a study waits for the tracking server to take a trial's last metrics."""


class TrialCloser:
    """Closes what a trial left open, in a thread beside the search.

    A trial that was stopped or failed does not go on, so its checkpoints are removed.

    Args:
        trials: the folder that holds a folder of each trial.
        keep: whether checkpoints stay until the end, since other trials may take them over.
    """

    def __init__(self, tracker: Tracker, trials: RunFolder, *, keep: bool = False) -> None:
        self.tracker, self.trials, self.keep = tracker, trials, keep
        self._spent: list[str] = []
        """Folders of trials whose checkpoints nobody needs."""
        self._runs: dict[str, str] = {}
        """Folder to MLflow run, of trials that ended."""
        self._untagged: list[tuple[str, Outcome]] = []
        """Runs whose end the tracking server does not know yet."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="manta-trial-closer")

    def close_earlier(self, trials: Iterable[TrialRecord]) -> None:
        """Close trials that ended in an earlier attempt, whose driver may have been killed then."""
        for trial in trials:
            self.trial_ended(trial, Outcome(trial.state, trial.reason, trial.values))

    def trial_ended(self, trial: TrialRecord, outcome: Outcome) -> None:
        """Close a trial, some time after this call returns."""
        self._pool.submit(self._close_trial, trial, outcome).add_done_callback(_log_error)

    def close(self) -> bool:
        """Wait until all trials are closed.

        What the tracking server missed while it was away, it gets now.

        Returns:
            whether the server has everything of the trials that ended.
        """
        self._pool.shutdown(wait=True)
        # Again, now that no trial runs: one that was stopped may have finished writing a
        # checkpoint after its checkpoints had been removed.
        for name in self._spent:
            self._remove_checkpoints(name)
        untagged, self._untagged = self._untagged, []
        # `all` stops at the first failure: a server that is still away is not tried for each trial.
        return all(self._tag(run_id, outcome) for run_id, outcome in untagged) and all(
            self._ship(name, run_id) for name, run_id in self._runs.items()
        )

    def interrupted(self, running: Iterable[TrialRecord]) -> None:
        """Mark the runs of trials that stop with the driver; a resume goes on with them."""
        for trial in running:
            run_id = self._run_id(trial)
            if run_id is not None:
                with contextlib.suppress(TrackingError):
                    self.tracker.finish(run_id, "KILLED")

    def _run_id(self, trial: TrialRecord) -> str | None:
        """Return a trial's MLflow run. Before its first rung, only its folder knows that."""
        name = trial_name(trial.number)
        if trial.run_id is None and self.trials.exists(name, RUN):
            return str(self.trials.read_json(name, RUN)["run_id"])
        return trial.run_id

    def _close_trial(self, trial: TrialRecord, outcome: Outcome) -> None:
        name = trial_name(trial.number)
        if self.trials.exists(name, RUN):
            status = {"status": outcome.state, "reason": outcome.reason}
            self.trials.update_json(status, name, RUN)
        if outcome.state != "complete":
            self._spent.append(name)
            if not self.keep:
                self._remove_checkpoints(name)
        run_id = self._run_id(trial)
        if run_id is not None:
            self._runs[name] = run_id
            self._tag(run_id, outcome)

    def _tag(self, run_id: str, outcome: Outcome) -> bool:
        """Write into MLflow how a trial ended. Returns whether the server took that."""
        tags = {"manta.state": str(outcome.state)}
        if outcome.reason:
            tags["manta.reason"] = outcome.reason
        try:
            self.tracker.set_tags(run_id, tags)
            self.tracker.finish(run_id, "FAILED" if outcome.state == "failed" else "FINISHED")
        except TrackingError:
            self._untagged.append((run_id, outcome))
            return False
        return True

    def _ship(self, name: str, run_id: str) -> bool:
        """Send the metrics that wait in a trial's folder. Returns whether none waits there now."""
        folder = RunFolder(self.trials.url_of(name))
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
        with contextlib.suppress(OSError):  # one is being written
            if self.trials.exists(name, CHECKPOINTS):
                self.trials.remove(name, CHECKPOINTS)


def _log_error(done: Future[None]) -> None:
    """Log what goes wrong beside the search, which it does not end."""
    if (error := done.exception()) is not None:
        _log.warning("a trial that ended was not closed properly: %s", error)
