"""How far a study is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from manta.report.study.record import TrialRecord


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far a study is when a trial has ended.

    Attributes:
        trial: the one that ended.
        done: trials that have ended.
        trials: of the whole study.
        best: so far; None while none is complete.
    """

    trial: TrialRecord
    done: int
    trials: int
    best: TrialRecord | None


OnTrialEnd = Callable[[StudyProgress], None]
"""Called whenever a trial of a study has ended."""
