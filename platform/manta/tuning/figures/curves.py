"""Figures that Optuna has not: trials from rung to rung, and metrics without labels."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from manta.report.parts import words
from manta.report.parts.charts import grid
from manta.report.parts.palette import LIGHT
from manta.report.study.record import StudyRecord, TrialRecord
from manta.tuning.figures.optuna_copy import NotDrawn
from manta.tuning.study.metrics import study_metrics

REFERENCE = "knn_top1"
_, BEST, RECIPE, _RUNNING, _ = LIGHT.series
STATES = {
    "complete": LIGHT.accent,
    "pruned": LIGHT.faint,
    "failed": LIGHT.bad,
    "running": _RUNNING,
}
"""Colours of what became of a trial."""


def rung_survival(record: StudyRecord) -> go.Figure:
    """Return how many trials were evaluated at each resource or later, by their state."""
    rungs = sorted({rung for trial in record.trials for rung in trial.rungs})
    if len(rungs) < 2:
        raise NotDrawn("No trial was evaluated at more than one point.")
    figure = go.Figure()
    for state, colour in STATES.items():
        reached = [
            sum(
                trial.state == state and max(trial.rungs, default=0) >= rung
                for trial in record.trials
            )
            for rung in rungs
        ]
        if any(reached):
            figure.add_bar(
                x=[f"{rung:g}" for rung in rungs], y=reached, name=state, marker={"color": colour}
            )
    figure.update_xaxes(title=record.unit, type="category")
    figure.update_yaxes(title="trials")
    return figure.update_layout(
        barmode="stack",
        meta=f"How many trials were still there at each evaluation, of {len(record.trials)}.",
    )


def learning_curves(record: StudyRecord) -> go.Figure:
    """Return the first metric of every trial over its rungs."""
    if not any(trial.rungs for trial in record.trials):
        raise NotDrawn("No trial has been evaluated yet.")
    figure = go.Figure()
    for state, colour in STATES.items():
        trials = [trial for trial in record.trials if trial.state == state and trial.rungs]
        if trials:
            figure.add_trace(_curves(trials, state, colour, 1.3))
    for name, named, colour in (("best", record.best, BEST), ("recipe", record.default, RECIPE)):
        if named is not None and named.rungs:
            figure.add_trace(_curves([named], name, colour, 2.6))
    figure.update_xaxes(title=record.unit)
    figure.update_yaxes(title=words.title(record.metrics[0]))
    return figure.update_layout(meta="Every trial over its evaluations, by what became of it.")


def _curves(trials: list[TrialRecord], name: str, colour: str, width: float) -> go.Scatter:
    """Return many lines as one trace, with gaps: a trace for each trial would be a slow page."""
    points: list[tuple[float | None, float | None, str]] = []
    for trial in trials:
        points += [
            (rung, value, f"trial {trial.number}") for rung, value in sorted(trial.rungs.items())
        ]
        points.append((None, None, ""))
    return go.Scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        text=[label for _, _, label in points],
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": width},
        marker={"size": 4},
        hovertemplate="%{text}: %{y:.4g} at %{x}<extra></extra>",
    )


def agreement(record: StudyRecord, taus: Mapping[str, float | None]) -> go.Figure:
    """Return each metric that needs no labels against kNN, with Kendall's tau."""
    if not record.labelled:
        raise NotDrawn(
            "The data have no labels, so there is no kNN accuracy to hold other metrics against."
        )
    pairs = {name: _pairs(record, name) for name in taus}
    shown = {name: trials for name, trials in pairs.items() if len(trials) > 1}
    if not shown:
        raise NotDrawn("Too few complete trials have both kNN and a metric that needs no labels.")
    figure, places = grid(len(shown), [_with_tau(name, taus[name]) for name in shown])
    for (name, trials), (row, column) in zip(shown.items(), places, strict=True):
        for state in ("complete", "pruned"):
            there = [trial for trial in trials if trial.state == state]
            figure.add_scatter(
                x=[trial.values[name] for trial in there],
                y=[trial.values[REFERENCE] for trial in there],
                text=[f"trial {trial.number}" for trial in there],
                mode="markers",
                name=state,
                marker={
                    "color": STATES[state],
                    "size": 8,
                    "symbol": "circle" if state == "complete" else "circle-open",
                },
                row=row,
                col=column,
            )
        known = study_metrics().get(name)
        towards = "reversed" if known is not None and known.mode == "min" else True
        figure.update_xaxes(title=words.title(name), autorange=towards, row=row, col=column)
        if column == 1:
            figure.update_yaxes(title=words.title(REFERENCE), row=row, col=column)
    return figure.update_layout(
        meta="The better by the metric, the further to the right: points along a rising line mean "
        "that it ranks trials as kNN does. Open circles were pruned and do not count."
    )


def _with_tau(metric: str, tau: float | None) -> str:
    known = "tau not known" if tau is None else f"tau {tau:.2f}".replace("-", "−")
    return f"{words.title(metric)}: {known}"


def _pairs(record: StudyRecord, name: str) -> list[TrialRecord]:
    return [
        trial
        for trial in record.trials
        if trial.state in ("complete", "pruned")
        and name in trial.values
        and REFERENCE in trial.values
    ]
