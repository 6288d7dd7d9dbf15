"""Why a trial failed, or its process is gone, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback

from manta.errors import DiskFull, MantaError, RunError
from manta.failures import TRACE, described, full_disk, innermost, keep_trace, whole_trace
from manta.runs.folder import RunFolder
from manta.training.mistakes import write_trace

OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "can't allocate memory")
DISK_FULL = f"{DiskFull.__name__}: "
"""Beginning of the reason of a trial that found no room, which ends the study."""
PROCESS_FAILED = "its process failed: "
MOST_WORDS = 300
"""Characters of an error's text that a trial's reason keeps."""


def error_reason(error: Exception, folder: RunFolder) -> str:
    """Return why a trial failed that raised an error.

    What nobody raised on purpose is named with the user's file and line, and its traceback goes to
    `error.txt` in the trial's folder.
    """
    text = " ".join(str(error).split())
    short = text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]}..."
    full = full_disk(error, folder.url if folder.is_local else None)
    if full is not None:
        return f"{DISK_FULL}{full}"
    if is_out_of_memory(error):
        return f"out of memory: {short}"
    # A RunError with a trace stands for what a rank of several did not raise on purpose.
    if isinstance(error, RunError) and error.trace is not None:
        return f"{error}{TRACE}{write_trace(error.trace, folder)})"
    if isinstance(error, MantaError):
        return f"{type(error).__name__}: {short}"
    trace = whole_trace(error)
    return f"{described(innermost(error), trace)}{TRACE}{write_trace(trace, folder)})"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is, or says that it is, of memory that is out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY)


class FailureCallback(Callback):
    """Callback that tells a searcher why a trial's process is gone: Tune tells only that it is.

    Args:
        died: called with Tune's id of the trial and the reason.
    """

    def __init__(self, died: Callable[[str, str], None]) -> None:
        self.died = died

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell the reason of the trial's last error."""
        error, trace = trial.get_pickled_error(), trial.get_error()
        reason = failure_reason(error, trace)
        if reason.startswith(PROCESS_FAILED):
            kept = keep_trace(trace or whole_trace(error))
            reason = f"{reason}{TRACE}{kept})"
        self.died(trial.trial_id, reason)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks with its own state, of which a resume reads nothing.
        return {}


def failure_reason(error: BaseException | None, trace: str | None = None) -> str:
    """Return the reason in one line; what Ray says of a lost actor is a page.

    Args:
        trace: the traceback, where the error itself could not be kept.
    """
    if error is None:
        lines = _lines(trace or "")
        return f"{PROCESS_FAILED}{lines[-1]}" if lines else "its process is gone"
    text = str(error)
    lines = _lines(text)
    if "oom" in text.lower():
        memory = next((line for line in lines if "memory" in line.lower()), None)
        if memory is not None:
            return f"out of memory: {memory}"
    if isinstance(error, RayActorError) and not isinstance(error.__cause__, RayTaskError):
        return "its process was killed again and again (out of memory, or by hand)"
    return f"{PROCESS_FAILED}{described(innermost(error), whole_trace(error))}"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
