"""Figures of the values that trials reached: over the trials, and of two metrics together."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
import plotly.graph_objects as go

from manta.report.parts import words
from manta.report.parts.charts import line_style
from manta.report.parts.palette import LIGHT
from manta.report.study.record import StudyRecord
from manta.tuning.figures.curves import BEST, RECIPE, STATES
from manta.tuning.figures.optuna_copy import complete_trials, copy_of_complete


def history(copy: optuna.Study, record: StudyRecord) -> go.Figure:
    """Return each trial by its value, the best so far, and the recipe as a dashed line."""
    complete_trials(copy)
    metric = words.title(record.metrics[0])
    figure = optuna.visualization.plot_optimization_history(copy, target_name=metric)
    dot = {"color": STATES["complete"], "size": 8}
    figure.update_traces(selector={"mode": "markers"}, marker=dot, name="complete")
    best = {"color": BEST, "width": 2, "shape": "hv"}
    figure.update_traces(selector={"mode": "lines"}, line=best, name="best so far")
    pruned = [t for t in record.trials if t.state == "pruned" and t.value is not None]
    figure.add_scatter(
        x=[trial.number for trial in pruned],
        y=[trial.value for trial in pruned],
        mode="markers",
        name="pruned, when it was stopped",
        marker={"color": STATES["pruned"], "size": 7, "symbol": "circle-open"},
    )
    if record.default is not None and record.default.state == "complete":
        figure.add_hline(record.default.value, line=line_style(RECIPE, 1.4, "dash"))
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=record.default.value,
            yanchor="bottom",
            text="recipe",
            showarrow=False,
        )
    return figure.update_layout(
        meta="Each trial by its value, and the best so far; the dashed line is the recipe."
    )


def pareto_front(study: optuna.Study, record: StudyRecord, names: Mapping[str, str]) -> go.Figure:
    """Return the complete trials by their first two metrics, and which none other beats."""
    copy = copy_of_complete(study, record, names, metrics=len(record.metrics))
    complete_trials(copy)
    titles = [words.title(metric) for metric in record.metrics[:2]]
    figure = optuna.visualization.plot_pareto_front(
        copy, target_names=titles, targets=lambda trial: list(trial.values[:2])
    )
    looks = ((LIGHT.faint, "beaten by another"), (LIGHT.accent, "on the front"))
    for trace, (colour, name) in zip(figure.data, looks, strict=True):
        trace.update(name=name, showlegend=True)
        trace.marker = {"color": colour, "size": 9}
    return figure.update_layout(
        meta="Each complete trial by its first two metrics; none beats those on the front in all."
    )
