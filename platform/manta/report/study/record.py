"""A study and its trials as plain data, of which summary, table and page are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

TrialState = Literal["waiting", "running", "complete", "pruned", "failed"]
Mode = Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: from 0; 0 is the recipe's own configuration.
        params: dotted path -> value.
        value: of the study's first metric at the last rung; None if it failed before one.
        values: every metric at the last rung.
        rungs: resource spent -> the first metric.
        reason: why it was pruned or failed.
        default: whether it is the recipe's own configuration.
    """

    number: int
    params: dict[str, Any]
    state: TrialState
    value: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    rungs: dict[float, float] = field(default_factory=dict)
    epochs: float = 0.0
    seconds: float = 0.0
    run_id: str | None = None
    reason: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study and its trials.

    Attributes:
        metrics, modes: what is optimised, the most important first.
        unit: of the resource that trials spend.
        space: file name of the search space.
        recipe: the resolved experiment that the space varies.
        planned: trials that the search is to run.
        labelled: whether the data have labels.
        fidelity: the resource of a whole trial.
    """

    name: str
    metrics: list[str]
    modes: list[Mode]
    unit: Literal["epochs", "steps"]
    space: str
    recipe: dict[str, Any]
    sampler: str
    scheduler: str
    seed: int
    planned: int
    trials: list[TrialRecord]
    study_run_id: str | None
    labelled: bool
    fidelity: float

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that ran to the end."""
        return [
            trial for trial in self.trials if trial.state == "complete" and trial.value is not None
        ]

    @property
    def best(self) -> TrialRecord | None:
        """The best of the complete trials by the first metric; among equals the first."""
        sign = 1 if self.modes[0] == "max" else -1
        return max(
            self.complete,
            key=lambda trial: (sign * (trial.value or 0.0), -trial.number),
            default=None,
        )

    @property
    def default(self) -> TrialRecord | None:
        """The recipe's own configuration."""
        return next((trial for trial in self.trials if trial.default), None)

    @property
    def front(self) -> list[TrialRecord]:
        """The complete trials that no other dominates: the Pareto front."""
        points = [(trial, self._score(trial)) for trial in self.complete]
        return [
            trial
            for trial, score in points
            if not any(_dominates(other, score) for _, other in points)
        ]

    def _score(self, trial: TrialRecord) -> tuple[float, ...]:
        """Return the trial's metrics with signs by which larger is better."""
        return tuple(
            (1 if mode == "max" else -1) * trial.values.get(metric, float("nan"))
            for metric, mode in zip(self.metrics, self.modes, strict=True)
        )


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether `one` is nowhere worse than `other`, and somewhere better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other
