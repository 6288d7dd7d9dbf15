"""Errors in a component's code that would come again, and where their tracebacks are kept."""

from __future__ import annotations

from manta.errors import MantaError, ResourceError, RunError
from manta.failures import described, is_of_ray, keep_trace, own_error, whole_trace
from manta.runs.folder import RunFolder

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What Python raises for wrong code. Not OSError, MemoryError or RuntimeError: a disk, a network, a
GPU and the other ranks fail with these, and may be well at the next start."""


class Mistake(RunError):
    """An error in the code of a component, at which another start would fail likewise.

    Its message is the error in one line, with the user's file and line; its trace is always there.
    """


def as_mistake(error: Exception) -> Mistake | None:
    """Return an error that a worker raised before its first step, if it would come again; or None.

    Those of Ray, such as a task or an object that was lost, may not come again.
    """
    if type(error).__module__ != "builtins" or not isinstance(error, _MISTAKES):
        return None
    if is_of_ray(error):
        return None
    trace = whole_trace(error)
    mistake = Mistake(described(error, trace))
    mistake.trace = trace
    return mistake


def raised_on_purpose(failures: dict[int, Exception]) -> MantaError | None:
    """Return the first error of Manta's among those of a run's ranks; None if there is none."""
    mine = (own_error(failure) for failure in failures.values())
    return next((error for error in mine if error is not None), None)


def write_trace(trace: str, folder: RunFolder) -> str | None:
    """Write a traceback to `error.txt` of a run's folder, or elsewhere if that takes nothing.

    Returns:
        the file's path or URL; None if it could not be written.
    """
    try:
        folder.write(trace.encode(errors="backslashreplace"), "error.txt")
    except ResourceError:
        return keep_trace(trace)
    return folder.url_of("error.txt")
