"""Errors that Manta raises on purpose.

    MantaError
    ├── ConfigError      a key, a value or a combination that cannot work
    ├── DataError        a source that cannot be read, an empty or broken dataset
    ├── RunError         a run's name, folder, lease or checkpoint is not as needed
    ├── ResourceError    more CPUs, GPUs or memory asked for than there can be; no place to write
    │   └── DiskFull     no room for what has to be written; the same command goes on later
    ├── TrainingStopped  the collapse monitor ended a run: not finite, or collapsed
    ├── TrackingError    the tracking store or the registry refused
    └── PromotionRefused the evidence for a model was not enough

A user sees the message as one line with exit status 2 (3 for a refused promotion), so it says what
to change.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class MantaError(Exception):
    """Base class of the errors that Manta raises on purpose.

    The message is one line and says how to fix the problem.

    Attributes:
        status: exit status of the command line.
        trace: traceback of the task of Ray in which it was raised; None if this process raised it.
            The command line writes it to a file.
    """

    status: ClassVar[int] = 2
    trace: str | None = None


class ConfigError(MantaError):
    """A configuration that cannot work."""


class DataError(MantaError):
    """A source or a dataset that cannot be used."""


class RunError(MantaError):
    """A run that cannot be started, resumed or found."""


class ResourceError(MantaError):
    """Resources that this machine or cluster can never provide, or a place not to be written."""


class DiskFull(ResourceError):
    """A disk without room for what has to be written; what is there is whole."""


class TrainingStopped(MantaError):
    """A run that was stopped because its loss was not finite or its features collapsed.

    Attributes:
        diagnosis: "not-finite" or "collapsed"; also the run's tag in MLflow.
    """

    def __init__(self, message: str, *, diagnosis: str) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis

    def __reduce__(self) -> tuple[object, ...]:
        # Ray pickles exceptions between processes, and the default `__reduce__` loses keyword
        # arguments.
        return (_rebuild_stopped, (str(self), self.diagnosis))


def _rebuild_stopped(message: str, diagnosis: str) -> TrainingStopped:
    return TrainingStopped(message, diagnosis=diagnosis)


class TrackingError(MantaError):
    """A request that the tracking store or the model registry refused."""


class PromotionRefused(MantaError):
    """A model that was evaluated as requested and is not good enough for the alias.

    Nothing went wrong, so this has an exit status of its own.
    """

    status = 3


def did_you_mean(word: Any, known: Iterable[Any]) -> str:
    """Return the end of a message about an unknown word: the nearest known word, or all of them."""
    words = [str(item) for item in known]
    if not words:
        return ""
    near = difflib.get_close_matches(str(word), words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(words)}"
