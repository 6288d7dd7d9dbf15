"""How much each parameter of a study matters, and when that cannot be said."""

from collections import Counter
from dataclasses import replace

import optuna
import plotly.graph_objects as go

from manta.report.study.record import TrialRecord
from manta.tuning.figures.importance import importances
from manta.tuning.figures.plots import figures
from synthetic_study import make_study

TITLE = "Importance of parameters"


def test_pruned_trials_tell_what_matters() -> None:
    """Six complete trials of 24 say nothing by themselves."""
    study, record = make_study(trials=24)
    assert Counter(trial.state for trial in record.trials) == {
        "complete": 6,
        "pruned": 17,
        "failed": 1,
    }
    assert next(iter(importances(study, record))) == "objective.temperature"
    assert importances(study, replace(record, trials=record.complete)) == {}


def test_a_parameter_drawn_seldom_is_left_out_and_counted() -> None:
    """Three of 24 trials drew it, and two of them are the best: chance, which would put it
    first."""
    study, record = make_study(trials=0)
    trials = []
    for number in range(24):
        trial = study.ask()
        params = {
            name: trial.suggest_float(name, 0.0, 1.0)
            for name in ("optimizer.lr", "views.crop.scale")
        }
        value = 0.5 + 0.01 * params["optimizer.lr"]
        if number in (5, 11, 17):
            params["objective.support"] = trial.suggest_float("objective.support", 0.0, 1.0)
            value += 0.1 * params["objective.support"]
        study.tell(trial, value)
        trials.append(
            TrialRecord(number, params, "complete", value, {"knn_top1": value}, {9.0: value}, 9.0)
        )
    record = replace(record, trials=trials)
    everything = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.2)
    )
    assert "objective.support" in everything
    assert set(importances(study, record)) == {"optimizer.lr", "views.crop.scale"}
    figure = figures(study, record, {})[TITLE]
    assert isinstance(figure, go.Figure)
    assert "Left out, since drawn by fewer than 8 trials: 1." in figure.layout.meta
    study, record = make_study(trials=24)
    assert "Left out" not in figures(study, record, {})[TITLE].layout.meta
