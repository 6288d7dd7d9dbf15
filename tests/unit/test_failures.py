"""Why a trial failed or its process is gone, in one line."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from manta.errors import ConfigError, DiskFull
from manta.runs.folder import RunFolder
from manta.training.mistakes import Mistake, as_mistake
from manta.training.trainer import EndAtOnce
from manta.tuning.trials.failures import DISK_FULL, FailureCallback, error_reason, failure_reason


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
        (RuntimeError("one\n two\n"), None, "its process failed: RuntimeError: one two"),
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
    ((name, reason),) = heard
    assert name == "ab12"
    told, _, kept = reason.partition(" (whole trace: ")
    assert told == "its process failed: X: y"
    assert Path(kept.removesuffix(")")).read_text() == "X: y"


def test_an_error_in_a_component_names_its_line_and_a_file(tmp_path: Path) -> None:
    def forward() -> int:
        return {}["no such key"]

    with pytest.raises(KeyError) as raised:
        forward()
    reason = error_reason(raised.value, RunFolder(tmp_path))
    line = f"{__file__}:{forward.__code__.co_firstlineno + 1}"
    kept = tmp_path / "error.txt"
    assert reason == f"KeyError: 'no such key' ({line}) (whole trace: {kept})"
    assert "in forward" in kept.read_text()


def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "rungs.json"))
    reason = error_reason(error, RunFolder(tmp_path))
    assert reason.startswith(DISK_FULL)
    assert f"free at {tmp_path}; make room there" in reason
    assert error_reason(DiskFull("full"), RunFolder(tmp_path)) == f"{DISK_FULL}full"


def test_what_is_raised_on_purpose_needs_no_trace(tmp_path: Path) -> None:
    assert error_reason(ConfigError("too few"), RunFolder(tmp_path)) == "ConfigError: too few"
    assert list(tmp_path.iterdir()) == []


def test_a_rank_s_mistake_ends_a_run_of_several_at_once() -> None:
    mistake = as_mistake(KeyError("x"))
    assert mistake is not None
    raised = UserExceptionWithTraceback(mistake, "Traceback of rank 1")
    lost = RuntimeError("Connection closed by peer")
    EndAtOnce().after_exception(None, {0: lost})
    with pytest.raises(Mistake, match="KeyError: 'x'"):
        EndAtOnce().after_exception(None, {0: lost, 1: raised})
