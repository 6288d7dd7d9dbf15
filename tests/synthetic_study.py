"""A real Optuna study of a known function, with pruned, failed and conditional trials, and its
record.

The value is a parabola in the logarithm of the temperature; every other parameter moves it by a
hundredth or two. Trials are stopped as ASHA does, and fail where the learning rate is too large, as
a failed trial stands in a study: complete and infeasible, with a value made up.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import optuna

from manta.report.study.record import StudyRecord, TrialRecord

MADE_UP = 0.01234
"""The value that failed trials were told with: it must show nowhere."""
RUNGS = (1.0, 3.0, 9.0)
RECIPE = {
    "objective": {"name": "dcl", "temperature": 0.5},
    "optimizer": {"lr": 0.003},
    "views": {"crop": {"scale": 0.2}, "grayscale": {"probability": 0.2}},
}
DEFAULT = {
    "objective.name": "dcl",
    "objective.temperature": 0.5,
    "optimizer.lr": 0.003,
    "views.crop.scale": 0.2,
    "views.grayscale.probability": 0.2,
}


def make_study(
    *,
    trials: int = 24,
    metrics: tuple[str, ...] = ("knn_top1",),
    labelled: bool = True,
    seed: int = 0,
    storage: str | None = None,
    name: str = "cifar10-joint",
) -> tuple[optuna.Study, StudyRecord]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=["maximize"] * len(metrics),
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )
    study.enqueue_trial(DEFAULT)
    records: list[TrialRecord] = []
    for number in range(trials):
        trial = study.ask()
        params = _draw(trial)
        records.append(_run(study, trial, params, records, metrics, number))
    record = StudyRecord(
        name=name,
        metrics=list(metrics),
        modes=["max"] * len(metrics),
        unit="epochs",
        space="joint.yaml",
        recipe=RECIPE,
        sampler="random",
        scheduler="asha",
        seed=seed,
        planned=trials,
        trials=records,
        study_run_id="5d41402abc4b2a76b9719d911017c592",
        labelled=labelled,
        fidelity=RUNGS[-1],
    )
    return study, record


def _draw(trial: optuna.Trial) -> dict[str, Any]:
    params: dict[str, Any] = {
        "objective.name": trial.suggest_categorical("objective.name", ["dcl", "byol"])
    }
    params["objective.temperature"] = trial.suggest_float(
        "objective.temperature", 0.02, 1.0, log=True
    )
    params["optimizer.lr"] = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    params["views.crop.scale"] = trial.suggest_float("views.crop.scale", 0.05, 0.6)
    params["views.grayscale.probability"] = trial.suggest_float(
        "views.grayscale.probability", 0.0, 0.5, step=0.1
    )
    if params["objective.name"] == "byol":
        params["objective.momentum"] = trial.suggest_float("objective.momentum", 0.9, 0.999)
    return params


def truth(params: dict[str, Any]) -> float:
    """Best at a temperature of 0.1."""
    spread = math.log10(params["objective.temperature"] / 0.1)
    small = 0.02 * (params["views.crop.scale"] - 0.2) - 0.01 * params["views.grayscale.probability"]
    return 0.62 - 0.3 * spread**2 + small


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    params: dict[str, Any],
    before: list[TrialRecord],
    metrics: tuple[str, ...],
    number: int,
) -> TrialRecord:
    rungs: dict[float, float] = {}
    reason = None
    state: Literal["complete", "pruned", "failed"] = "complete"
    for rung in RUNGS:
        if params["optimizer.lr"] > 0.04 and rung > 1:
            state, reason = "failed", f"the loss is not finite at step {100 * number + 7}"
            break
        rungs[rung] = truth(params) * (1 - 0.5 * math.exp(-rung / 3))
        if rung < RUNGS[-1] and _below_others(rungs[rung], rung, before) and number:
            state, reason = "pruned", f"stopped at {rung:g} of {RUNGS[-1]:g}: others did better"
            break
    reached = max(rungs)
    values = {
        "knn_top1": rungs[reached],
        "rankme": 20 + 60 * rungs[reached] + 2 * math.sin(number),
        "feature_std": 0.9 - 0.2 * rungs[reached],
        "images_per_second": 900 - 700 * params["views.crop.scale"],
    }
    _tell(study, trial, state, values, rungs, metrics)
    return TrialRecord(
        number=number,
        params=params,
        state=state,
        value=None if state == "failed" else values[metrics[0]],
        values=values,
        rungs=rungs,
        epochs=reached,
        seconds=14 * reached,
        run_id=f"{number:032x}",
        reason=reason,
        default=number == 0,
    )


def _below_others(value: float, rung: float, before: list[TrialRecord]) -> bool:
    others = sorted(trial.rungs[rung] for trial in before if rung in trial.rungs)
    return len(others) > 2 and value < others[len(others) // 2]


def _tell(
    study: optuna.Study,
    trial: optuna.Trial,
    state: str,
    values: dict[str, float],
    rungs: dict[float, float],
    metrics: tuple[str, ...],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        trial.set_constraint("trains", 1.0 if state == "failed" else 0.0)
    if len(metrics) == 1:
        for rung, value in rungs.items():
            trial.report(value, int(rung))
    if state == "failed":
        study.tell(trial, [MADE_UP] * len(metrics))
    elif state == "pruned" and len(metrics) == 1:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, [values[metric] for metric in metrics])
