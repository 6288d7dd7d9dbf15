"""From Optuna's trials to records."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from manta.report.study.record import TrialRecord
from manta.report.study.record import TrialState as State
from manta.tuning.space.read import Space
from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.storage import ATTRIBUTE, rejected


def records(study: optuna.Study, space: Space, metrics: list[StudyMetric]) -> list[TrialRecord]:
    """Every trial that was asked for, by number."""
    return [
        _record(trial, space, metrics)
        for trial in study.get_trials(deepcopy=False)
        if not rejected(trial)
    ]


def _record(trial: FrozenTrial, space: Space, metrics: list[StudyMetric]) -> TrialRecord:
    noted = {key.removeprefix(ATTRIBUTE): value for key, value in trial.user_attrs.items()}
    state = _state(trial)
    values = {str(name): float(value) for name, value in noted.get("values", {}).items()}
    first = values.get(metrics[0].name)
    return TrialRecord(
        number=trial.number,
        params={}
        if noted.get("inside") is False
        else space.values(noted.get("drawn") or trial.params),
        state=state,
        value=None if state == "failed" else first,
        values=values,
        rungs={float(step): value for step, value in noted.get("rungs", {}).items()},
        epochs=float(noted.get("epochs", 0.0)),
        seconds=float(noted.get("seconds", 0.0)),
        run_id=noted.get("run_id"),
        reason=noted.get("reason"),
        default=bool(noted.get("default", False)),
    )


def _state(trial: FrozenTrial) -> State:
    if trial.state == TrialState.WAITING:
        return "waiting"
    if not trial.state.is_finished():
        return "running"
    said: State = trial.user_attrs.get(f"{ATTRIBUTE}state", "failed")
    return said
