"""The curves of a run's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from manta.report.parts import words
from manta.report.parts.charts import Chart, line_style
from manta.report.parts.palette import LIGHT
from manta.report.run.panels import FEW_POINTS, Line, Panel, panels
from manta.report.run.record import RunRecord

TITLES = {
    "loss": "Loss",
    "evaluation": "Evaluation during training",
    "features": "Health of the features",
    "schedules": "Schedules",
    "throughput": "Throughput",
}
_HEIGHT = 168
_LEGEND, _STEP_TITLE = 19, 20
"""Pixels that a row of the legend and the title of the axis of steps take."""


@dataclass(frozen=True, slots=True)
class CurveGroup:
    """Charts that stand under one another, and what they show in words."""

    summary: str
    charts: list[Chart]


def curve_groups(run: RunRecord) -> list[CurveGroup]:
    """Return the run's curves, one group for each figure that has data."""
    drawn = panels(run)
    return [
        CurveGroup(_summary(run, title, drawn[name]), _charts(name, drawn[name]))
        for name, title in TITLES.items()
        if name in drawn
    ]


def _charts(name: str, rows: Sequence[Panel]) -> list[Chart]:
    last = len(rows) - 1
    return [
        Chart(panel.title, "", _figure(panel, ends=place == last), name=f"{name}-{place}")
        for place, panel in enumerate(rows)
    ]


def _summary(run: RunRecord, title: str, rows: Sequence[Panel]) -> str:
    """Return what the curves show, for those who cannot see them."""
    parts = []
    for metric in (line.metric for panel in rows for line in panel.lines):
        values = run.curves[metric].values
        first, last = (words.number(float(values[place]), metric) for place in (0, -1))
        parts.append(f"{run.noun.said(words.title(metric))} from {first} to {last}")
    return f"{title}: " + "; ".join(parts)


def _figure(panel: Panel, *, ends: bool) -> go.Figure:
    """Return one panel; the last of its group names the axis of steps."""
    figure = go.Figure()
    several = len(panel.lines) > 1
    for line in panel.lines:
        _draw(figure, line)
    if several and any(line.untrained is not None for line in panel.lines):
        key = line_style(LIGHT.faint, 1.4, "dash")
        figure.add_scatter(x=[None], y=[None], mode="lines", name="untrained", line=key)
    for line in panel.lines:
        if line.untrained is not None:
            _draw_untrained(figure, panel, line, several=several)
    figure.update_xaxes(range=panel.steps, title="step" if ends else None, showline=True)
    # A margin of one width keeps the axes of a column above one another.
    figure.update_yaxes(range=_around_constant(panel), nticks=5, automargin=False)
    figure.update_yaxes(rangemode="tozero" if panel.from_zero else "normal")
    legend_rows = -(-(len(panel.lines) + 1) // 2) if several else 0
    margin = {"l": 46, "r": 8, "t": 8 + _LEGEND * legend_rows, "b": 22}
    height = _HEIGHT + margin["t"] + (_STEP_TITLE if ends else 0)
    return figure.update_layout(
        height=height, margin=margin, hovermode="x unified", showlegend=several, dragmode=False
    )


def _around_constant(panel: Panel) -> tuple[float, float] | None:
    """Return the axis of values where a panel has only one; plotly's own would show it as 0."""
    values = {float(value) for line in panel.lines for value in line.values}
    values |= {line.untrained for line in panel.lines if line.untrained is not None}
    only = values.pop()
    if values or panel.from_zero or only == 0:
        return None
    return only - 0.05 * abs(only), only + 0.05 * abs(only)


def _draw(figure: go.Figure, line: Line) -> None:
    """Add a metric: its trend over its faint values, or the values themselves."""
    hover = "%{y:.4~g}"
    if line.trend is not None:
        figure.add_scatter(
            x=line.steps,
            y=line.values,
            mode="lines",
            line=line_style(line.colour, 0.8),
            opacity=0.35,
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=line.steps,
        y=line.values if line.trend is None else line.trend,
        mode="lines+markers" if len(line.steps) <= FEW_POINTS else "lines",
        name=line.title,
        line=line_style(line.colour),
        marker={"size": 5},
        hovertemplate=hover,
    )


def _draw_untrained(figure: go.Figure, panel: Panel, line: Line, *, several: bool) -> None:
    """Add a dashed line; it is labelled where it stands alone, so that no label hides another."""
    value = words.number(line.untrained, line.metric)
    colour = line.colour if several else LIGHT.faint
    figure.add_scatter(
        x=panel.steps,
        y=[line.untrained] * 2,
        mode="lines",
        name=f"{line.title}, untrained {value}",
        line=line_style(colour, 1.2, "dash"),
        hoverinfo="skip",
        showlegend=False,
    )
    if not several:
        figure.add_annotation(
            text=f"untrained {value}",
            x=1,
            xref="paper",
            xanchor="right",
            y=line.untrained,
            yanchor="bottom",
            showarrow=False,
        )
