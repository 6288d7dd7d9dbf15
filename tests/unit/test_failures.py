"""Why a trial's process is gone, in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from manta.tuning.trials.failures import FailureCallback, failure_reason


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback ...\n  line\nValueError: no such file", cause)


def actor_error(cause: BaseException | None = None) -> RayActorError:
    error = RayActorError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "trace", "reason"),
    [
        (None, None, "its process is gone"),
        (None, " a\n  b: c \n\n", "its process failed: b: c"),
        (RuntimeError(""), None, "its process failed: RuntimeError"),
        (RuntimeError("one\n two\n"), None, "its process failed: two"),
        (
            actor_error(),
            None,
            "its process was killed again and again (out of memory, or by hand)",
        ),
        (
            task_error(ValueError("no such file")),
            None,
            "its process failed: ValueError: no such file",
        ),
        (
            OutOfMemoryError("Task was killed.\nMemory on the node was 95% full\nOOM killer"),
            None,
            "out of memory: Memory on the node was 95% full",
        ),
    ],
)
def test_a_reason_is_one_line(error: Exception | None, trace: str | None, reason: str) -> None:
    assert failure_reason(error, trace) == reason


def test_an_actor_that_raised_was_not_killed() -> None:
    reason = failure_reason(actor_error(task_error(ValueError("x"))))
    assert reason.startswith("its process failed: ")


def test_the_searcher_hears_of_it_by_tunes_id() -> None:
    heard: list[tuple[str, str]] = []
    trial: Any = SimpleNamespace(
        trial_id="ab12", get_pickled_error=lambda: None, get_error=lambda: "X: y"
    )
    FailureCallback(lambda name, reason: heard.append((name, reason))).on_trial_error(1, [], trial)
    assert heard == [("ab12", "its process failed: X: y")]
