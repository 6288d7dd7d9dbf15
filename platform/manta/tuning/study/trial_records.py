"""Records of a study's trials, from Optuna's database."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from manta.report.study.record import TrialRecord
from manta.report.study.record import TrialState as State
from manta.tuning.space.read import Space
from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.storage import attributes, rejected


def trial_records(
    study: optuna.Study, space: Space, metrics: list[StudyMetric]
) -> list[TrialRecord]:
    """Return every trial of the study by number; draws that a constraint refused are none."""
    return [
        _record(trial, space, metrics)
        for trial in study.get_trials(deepcopy=False)
        if not rejected(trial)
    ]


def _record(trial: FrozenTrial, space: Space, metrics: list[StudyMetric]) -> TrialRecord:
    kept = attributes(trial)
    state = _state(trial)
    values = {str(name): float(value) for name, value in kept.get("values", {}).items()}
    # A recipe outside of the space draws values that its trial does not use.
    drawn = {} if kept.get("inside") is False else kept.get("drawn") or trial.params
    return TrialRecord(
        number=trial.number,
        params=space.values(drawn),
        state=state,
        value=None if state == "failed" else values.get(metrics[0].name),
        values=values,
        rungs={float(step): value for step, value in kept.get("rungs", {}).items()},
        epochs=float(kept.get("epochs", 0.0)),
        seconds=float(kept.get("seconds", 0.0)),
        run_id=kept.get("run_id"),
        reason=kept.get("reason"),
        default=bool(kept.get("default", False)),
    )


def _state(trial: FrozenTrial) -> State:
    if trial.state == TrialState.WAITING:
        return "waiting"
    if not trial.state.is_finished():
        return "running"
    state: State = attributes(trial).get("state", "failed")
    return state
