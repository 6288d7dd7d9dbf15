"""How much each parameter of a study matters."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping

import optuna
import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from manta.report.parts.palette import LIGHT
from manta.report.study.record import StudyRecord
from manta.tuning.figures.optuna_copy import (
    NotDrawn,
    complete_trials,
    copy_with_values,
    quiet_optuna,
)

_FEWEST, _ENOUGH = 8, 20
"""Trials below which importances are not told, and below which they are a hint."""
_TOP = 5
_MOST_BARS = 15


def importances(study: optuna.Study, record: StudyRecord) -> dict[str, float]:
    """Return parameter -> its share of what decides whether a trial is among the best.

    Optuna's default, PED-ANOVA (Watanabe et al., 2023, arXiv:2304.10255), by the first metric. It
    asks only which trials are on top, so pruned trials count as well: one that went further is
    better than one stopped before. A parameter that exists under a condition and was drawn by fewer
    than eight trials is left out: on so few, chance comes first. {} with too little data.
    """
    try:
        with quiet_optuna(), warnings.catch_warnings():
            # Optuna's way to say that the result means nothing.
            warnings.simplefilter("error", UserWarning)
            ranked = _ranked(study, record, {})
            often = [path for path, count in _times_drawn(ranked).items() if count >= _FEWEST]
            if len(often) < 2:
                return {}
            shares: dict[str, float] = optuna.importance.get_param_importances(
                ranked, evaluator=_evaluator(ranked), params=often
            )
    except (NotDrawn, UserWarning):
        return {}
    return shares


def importance_figure(
    study: optuna.Study, record: StudyRecord, names: Mapping[str, str]
) -> go.Figure:
    """Return one bar for each parameter that `importances` knows, the most important first."""
    ranked = _ranked(study, record, names)
    shown = [names[path] for path in importances(study, record)][:_MOST_BARS]
    if not shown:
        raise NotDrawn("The best trials have nothing that sets them apart from the others.")
    figure = optuna.visualization.plot_param_importances(
        ranked, evaluator=_evaluator(ranked), params=shown
    )
    figure.update_traces(marker={"color": LIGHT.accent})
    figure.update_xaxes(title="share", range=[0, 1])
    figure.update_yaxes(title="", ticksuffix="  ")
    figure.update_layout(height=110 + 28 * len(shown))
    counted = len(complete_trials(ranked))
    hint = "" if counted >= _ENOUGH else f" Of {counted} trials it is no more than a hint."
    seldom = sum(count < _FEWEST for count in _times_drawn(ranked).values())
    left_out = f" Left out, since drawn by fewer than {_FEWEST} trials: {seldom}." if seldom else ""
    return figure.update_layout(
        meta="How much each parameter decides whether a trial is among the best; "
        f"pruned ones count as worse.{hint}{left_out}"
    )


def _ranked(study: optuna.Study, record: StudyRecord, names: Mapping[str, str]) -> optuna.Study:
    """Return the complete and pruned trials, each with its place as value.

    The place goes by how far a trial went, then by how good it was.

    Raises:
        NotDrawn: too few trials, all alike, or a single parameter.
    """
    trials = study.get_trials(deepcopy=False)
    sign = 1 if record.modes[0] == "max" else -1
    # A recipe outside of the space stands in the study as failed: what it drew is not what was
    # trained.
    trained = {trial.number for trial in trials if trial.state != TrialState.FAIL}
    reached = {
        trial.number: (max(trial.rungs, default=0.0), sign * trial.value)
        for trial in record.trials
        if trial.state in ("complete", "pruned")
        and trial.value is not None
        and trial.number in trained
    }
    if len(reached) < _FEWEST:
        held = len(reached)
        raise NotDrawn(
            f"It takes at least {_FEWEST} trials that did not fail; this study has {held}."
        )
    places = {key: place for place, key in enumerate(sorted(set(reached.values())))}
    if len({value for _, value in places}) < 2:
        raise NotDrawn("All trials have the same value, so no parameter matters.")
    paths = {path for trial in trials if trial.number in reached for path in trial.params}
    if len(paths) < 2:
        raise NotDrawn("The search has one parameter only, so there is nothing to compare it with.")
    values = {number: [float(places[key])] for number, key in reached.items()}
    return copy_with_values(study, values, ["maximize"], names)


def _times_drawn(ranked: optuna.Study) -> Counter[str]:
    """Return how many of the trials that count have each parameter."""
    trials = ranked.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return Counter(path for trial in trials for path in trial.params)


def _evaluator(ranked: optuna.Study) -> PedAnovaImportanceEvaluator:
    """Return PED-ANOVA with the best tenth on top, or `_TOP` trials where that is more.

    Five is Optuna's advice; never over a quarter of the trials.
    """
    counted = sum(trial.state == TrialState.COMPLETE for trial in ranked.get_trials(deepcopy=False))
    return PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(_TOP / counted, 0.25)))
