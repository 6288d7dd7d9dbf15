"""How far a study is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from manta.report.study.record import TrialRecord


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


Watch = Callable[[Standing], None]
