"""Why a trial's process is gone, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback


class FailureCallback(Callback):
    """Callback that tells a searcher why a trial's process is gone: Tune tells only that it is.

    Args:
        died: called with Tune's id of the trial and the reason.
    """

    def __init__(self, died: Callable[[str, str], None]) -> None:
        self.died = died

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell the reason of the trial's last error."""
        reason = failure_reason(trial.get_pickled_error(), trial.get_error())
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
        return f"its process failed: {lines[-1]}" if lines else "its process is gone"
    text = str(error)
    lines = _lines(text)
    if "oom" in text.lower():
        memory = next((line for line in lines if "memory" in line.lower()), None)
        if memory is not None:
            return f"out of memory: {memory}"
    if isinstance(error, RayActorError) and not isinstance(error.__cause__, RayTaskError):
        return "its process was killed again and again (out of memory, or by hand)"
    return f"its process failed: {lines[-1] if lines else type(error).__name__}"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
