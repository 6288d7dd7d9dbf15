"""What follows each trial of a study, and what people see of it meanwhile."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from manta.errors import TrackingError
from manta.tracking import Tracker
from manta.training.folder import RunFolder
from manta.tuning.record import TrialRecord
from manta.tuning.search import Outcome

_log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a study, after a trial.

    Attributes:
        trial: the one that ended.
        done, asked: trials.
        best: so far; None while none is complete.
    """

    trial: TrialRecord
    done: int
    asked: int
    best: TrialRecord | None


class Aftercare:
    """Closes what a trial left open, beside the search: its run in MLflow, its folder, its checkpoints.

    A trial that was stopped or failed is not gone on with, so its checkpoints are removed.

    Args:
        keep: until the end, since others may take them over.
    """

    def __init__(self, tracker: Tracker, trials: RunFolder, *, keep: bool = False) -> None:
        self.tracker, self.trials, self.keep = tracker, trials, keep
        self._spent: list[str] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="manta-aftercare")

    def settle(self, past: Iterable[TrialRecord]) -> None:
        """See to trials that ended in an earlier attempt, the driver of which may have been killed right then."""
        for trial in past:
            self.trial_ended(trial, Outcome(trial.state, trial.reason, trial.values))

    def trial_ended(self, trial: TrialRecord, outcome: Outcome) -> None:
        self._pool.submit(self._settle, trial, outcome).add_done_callback(_complain)

    def close(self) -> None:
        """Wait until all is done. A trial that was stopped may have finished writing a checkpoint meanwhile."""
        self._pool.shutdown(wait=True)
        for name in self._spent:
            self._remove_checkpoints(name)

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
            self.trials.update_json({"status": outcome.state, "reason": outcome.reason}, name, "run.json")
        if outcome.state != "complete":
            self._spent.append(name)
            if not self.keep:
                self._remove_checkpoints(name)
        run_id = self._run_id(trial)
        if run_id is None:
            return
        tags = {"manta.state": outcome.state} | ({"manta.reason": outcome.reason} if outcome.reason else {})
        with contextlib.suppress(TrackingError):
            self.tracker.set_tags(run_id, tags)
            self.tracker.finish(run_id, "FAILED" if outcome.state == "failed" else "FINISHED")

    def _remove_checkpoints(self, name: str) -> None:
        with contextlib.suppress(OSError):  # it is being written to
            if self.trials.exists(name, CHECKPOINTS):
                self.trials.remove(name, CHECKPOINTS)


Watch = Callable[[Standing], None]


def _complain(done: Future[None]) -> None:
    """What goes wrong beside the search does not end it, and is said."""
    if (error := done.exception()) is not None:
        _log.warning("a trial that ended was not closed properly: %s", error)
