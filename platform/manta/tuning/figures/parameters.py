"""Figures of the values over the parameters of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial
from plotly.colors import sample_colorscale

from manta.report.parts import words
from manta.report.parts.charts import grid, log_axis
from manta.report.parts.palette import LIGHT, SCALE
from manta.report.study.record import StudyRecord
from manta.tuning.figures.curves import STATES
from manta.tuning.figures.optuna_copy import NotDrawn, complete_trials

_MOST_SLICES = 9
_MOST_AXES = 10
_TOGETHER = 4
"""Complete trials in which two parameters must vary together to be drawn against each other."""
_BAR_OF_COLOURS = {"title": "", "thickness": 10, "outlinewidth": 0}


def slices(
    copy: optuna.Study, record: StudyRecord, names: Mapping[str, str], leading: Sequence[str]
) -> go.Figure:
    """Return the value over each parameter, the most important first.

    Args:
        names: parameter -> its name in `copy`.
        leading: names in the order of importance.
    """
    trials = complete_trials(copy, 2)
    shown = _by_importance(trials, leading)[:_MOST_SLICES]
    metric = words.title(record.metrics[0])
    figure, places = grid(len(shown))
    paths = {name: path for path, name in names.items()}
    for name, (row, column) in zip(shown, places, strict=True):
        at = {"row": row, "col": column}
        part = optuna.visualization.plot_slice(copy, params=[name], target_name=metric)
        categories = part.layout.xaxis.type == "category"
        figure.add_trace(_pruned(record, paths[name], categories=categories), **at)
        for trace in part.data:
            look = {"color": STATES["complete"], "size": 8, "line": {"width": 0}}
            trace.marker.update(look, showscale=False)
            figure.add_trace(trace.update(name="complete"), **at)
        figure.update_xaxes(_axis(trials, name, repr) | {"title": name}, **at)
        if column == 1:
            figure.update_yaxes(title=metric, **at)
    return figure.update_layout(
        meta="The value over each parameter, the most important first. "
        "Open circles were pruned, at their last value."
    )


def _pruned(record: StudyRecord, path: str, *, categories: bool) -> go.Scatter:
    """Return the pruned trials over one parameter, as open circles."""
    points = [
        (repr(drawn) if categories else drawn, trial.value)
        for trial in record.trials
        if trial.state == "pruned" and (drawn := trial.params.get(path)) is not None
    ]
    return go.Scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        marker={"color": STATES["pruned"], "size": 6, "symbol": "circle-open"},
        name="pruned",
    )


def parallel_coordinates(
    copy: optuna.Study, record: StudyRecord, leading: Sequence[str]
) -> go.Figure:
    """Return one line a complete trial, from its value through its parameters."""
    shown = _by_importance(complete_trials(copy, 2), leading)[:_MOST_AXES]
    if len(shown) < 2:
        raise NotDrawn("The search has one parameter only, which the slices show.")
    metric = words.title(record.metrics[0])
    figure = optuna.visualization.plot_parallel_coordinate(copy, params=shown, target_name=metric)
    for trace in figure.data:
        if trace.mode == "lines":
            place = trace.y[0] if record.modes[0] == "max" else 1 - trace.y[0]
            colour = sample_colorscale(list(SCALE), place)[0]
            trace.update(line={"color": colour, "width": 1 + 2 * place}, opacity=0.85)
        else:
            trace.marker.update(colorscale=SCALE, reversescale=record.modes[0] == "min")
            trace.marker.colorbar.update(_BAR_OF_COLOURS)
    figure.update_annotations(font={"size": 10, "color": None})
    # Optuna cuts the names.
    figure.update_xaxes(ticktext=[metric, *sorted(shown)])
    return figure.update_layout(
        width=150 * (len(shown) + 1),
        height=380,
        margin={"l": 70},
        meta="One line a complete trial, from its value on the left through its parameters; "
        "the best are thick.",
    )


def contour(copy: optuna.Study, record: StudyRecord, leading: Sequence[str]) -> go.Figure:
    """Return the value over the two most important parameters that vary together."""
    trials = complete_trials(copy, _TOGETHER)
    if not leading:
        raise NotDrawn("There are too few trials to tell which parameters matter most.")
    pairs = (pair for pair in combinations(leading, 2) if _vary_together(trials, pair))
    pair = next(pairs, None)
    if pair is None:
        raise NotDrawn(f"No two parameters vary together in at least {_TOGETHER} complete trials.")
    figure = optuna.visualization.plot_contour(
        copy, params=list(pair), target_name=words.title(record.metrics[0])
    )
    figure.update_traces(
        selector={"type": "contour"},
        colorscale=SCALE,
        reversescale=record.modes[0] == "min",
        line={"width": 0},
        colorbar=_BAR_OF_COLOURS,
    )
    dot = {"color": LIGHT.card, "size": 8, "line": {"color": LIGHT.ink, "width": 1.5}}
    figure.update_traces(selector={"type": "scatter"}, marker=dot)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.update(_axis(trials, axis.title.text, str) | {"range": axis.range})
    return figure.update_layout(
        meta="The value between the complete trials (dots), interpolated: read it with caution."
    )


def _vary_together(trials: Sequence[FrozenTrial], pair: tuple[str, str]) -> bool:
    both = [
        [trial.params[name] for name in pair]
        for trial in trials
        if all(name in trial.params for name in pair)
    ]
    vary = all(len(set(values)) > 1 for values in zip(*both, strict=True))
    return len(both) >= _TOGETHER and vary


def _axis(
    trials: Sequence[FrozenTrial], name: str, category: Callable[[Any], str]
) -> dict[str, Any]:
    """Return ticks in plain words; `category` is what Optuna made of a choice to place it."""
    distribution = next(trial.distributions[name] for trial in trials if name in trial.params)
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return {
            "tickvals": [category(choice) for choice in choices],
            "ticktext": [words.setting(choice) for choice in choices],
        }
    return log_axis(distribution.low, distribution.high) if distribution.log else {}


def _by_importance(trials: Sequence[FrozenTrial], leading: Sequence[str]) -> list[str]:
    """Return the parameters of these trials, the most important first."""
    names = {name for trial in trials for name in trial.params}
    return [name for name in leading if name in names] + sorted(names - set(leading))
