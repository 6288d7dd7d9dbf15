"""Bars and curves of numbers with their 95% intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from manta.report.evaluation.numbers import Interval, Number, between, shown
from manta.report.parts.charts import Chart, line_style, real
from manta.report.parts.palette import LIGHT

Row = tuple[str, Number]
"""A label and the number that stands at it."""
_HEIGHT = 300
_ROW, _ROW_OF_TWO = 34, 46
_NAMES_GAP = "  "


def bars(
    name: str, title: str, caption: str, rows: Sequence[Row], *, wide: bool = False
) -> Chart | None:
    """Return horizontal bars, the first on top, each number above the untrained encoder's.

    A tick across them is the floor's.

    None where no number is finite.
    """
    drawn = [
        (html.escape(label), number)
        for label, number in rows
        if number.finite or real(number.untrained)
    ]
    if not any(number.finite for _, number in drawn):
        return None
    labels, numbers = [label for label, _ in drawn], [number for _, number in drawn]
    paired = any(number.untrained is not None for number in numbers)
    has_floor = any(real(number.floor) for number in numbers)
    legend = 70 if paired or has_floor else 40
    figure = bar_figure(len(drawn) * (_ROW_OF_TWO if paired else _ROW) + legend)
    own = [number.value for number in numbers], [number.interval for number in numbers]
    figure.add_trace(
        bar_trace("trained" if paired or has_floor else "", labels, *own, LIGHT.series[0])
    )
    if paired:
        values = [number.untrained for number in numbers]
        intervals = [number.untrained_interval for number in numbers]
        figure.add_trace(bar_trace("untrained", labels, values, intervals, LIGHT.faint))
    floors = {label: number.floor for label, number in drawn if real(number.floor)}
    if floors:
        figure.add_trace(_ticks(floors))
    figure.update_layout(showlegend=paired or bool(floors), yaxis_autorange="reversed")
    add_ends(figure, {label: number.value for label, number in drawn})
    return Chart(title, caption, figure, wide=wide, name=name)


def bar_figure(height: int) -> go.Figure:
    """Return an empty figure for horizontal bars, with room for `add_ends` on the right."""
    return go.Figure(
        layout={
            "height": height,
            "margin": {"r": 52},
            "dragmode": False,
            "barmode": "group",
            "bargap": 0.35,
            "bargroupgap": 0.08,
            "xaxis": {
                "rangemode": "tozero",
                "tickformat": ".2~f",
                "showgrid": True,
                "fixedrange": True,
            },
            "yaxis": {
                "type": "category",
                "showgrid": False,
                "ticksuffix": _NAMES_GAP,
                "fixedrange": True,
            },
        }
    )


def bar_trace(
    name: str,
    labels: Sequence[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None],
    colour: str,
) -> go.Bar:
    """Return one bar for each label, with its interval as a whisker."""
    texts = [_hover(value, one) for value, one in zip(values, intervals, strict=True)]
    return go.Bar(
        orientation="h",
        name=name,
        y=list(labels),
        x=[value if real(value) else None for value in values],
        customdata=texts,
        hovertemplate=f"%{{customdata}}<extra>{name}</extra>",
        marker={"color": colour},
        error_x=_whiskers(values, intervals, LIGHT.ink),
    )


def _ticks(values: Mapping[str, float | None]) -> go.Scatter:
    """Return a tick across a row of bars at each value: the floor's."""
    return go.Scatter(
        mode="markers",
        name="floor",
        y=list(values),
        x=list(values.values()),
        customdata=[_hover(value, None) for value in values.values()],
        hovertemplate="%{customdata}<extra>floor</extra>",
        marker={
            "symbol": "line-ns",
            "size": 22,
            "line": {"width": 2, "color": LIGHT.ink},
        },
    )


def add_ends(figure: go.Figure, values: Mapping[str, float | None]) -> None:
    """Write the values again as text, at the right end of each row of bars."""
    for label, value in values.items():
        if real(value):
            figure.add_annotation(
                xref="paper",
                x=1,
                xanchor="left",
                y=label,
                text=shown(value, "fraction"),
                showarrow=False,
                font={"color": LIGHT.ink, "size": 13},
            )


def curves(
    name: str,
    title: str,
    caption: str,
    axis: str,
    series: Sequence[tuple[str, dict[str, Number]]],
    *,
    fewest: int = 2,
    zero: bool = False,
) -> Chart | None:
    """Return lines over labels that are evenly spaced, dashed for the untrained encoder.

    None where no line has enough points.

    Args:
        axis: title of the axis of labels.
        series: title of a line -> its numbers by label.
        fewest: points below which there is no curve.
        zero: whether the axis of values begins at 0.
    """
    kept = [
        (html.escape(label), {html.escape(at): number for at, number in points.items()})
        for label, points in series
        if sum(number.finite for number in points.values()) >= fewest
    ]
    if not kept:
        return None
    figure = _curve_figure([points for _, points in kept], axis, zero=zero)
    for place, (label, points) in enumerate(kept):
        _add_curve(figure, label, points, LIGHT.series[place % len(LIGHT.series)])
    paired = any(real(number.untrained) for _, points in kept for number in points.values())
    if paired:
        key = line_style(LIGHT.faint, dash="dash")
        figure.add_scatter(x=[None], y=[None], mode="lines", name="untrained", line=key)
    figure.update_layout(showlegend=paired or len(kept) > 1)
    return Chart(title, caption, figure, name=name)


def _curve_figure(series: Sequence[Mapping[str, Number]], axis: str, *, zero: bool) -> go.Figure:
    """Return an empty figure over the labels of all series, in the order of the longest."""
    longest_first = sorted(series, key=len, reverse=True)
    figure = go.Figure()
    figure.update_xaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(dict.fromkeys(label for points in longest_first for label in points)),
        title=axis,
        fixedrange=True,
    )
    figure.update_yaxes(
        tickformat=".2~f", rangemode="tozero" if zero else "normal", fixedrange=True
    )
    return figure.update_layout(height=_HEIGHT, hovermode="x unified", dragmode=False)


def add_level(figure: go.Figure, value: float, colour: str, *, upright: bool = False) -> None:
    """Draw a dotted line at a value, from one end of the axes to the other."""
    add = figure.add_vline if upright else figure.add_hline
    add(value, line=line_style(colour, 1.2, "dot"))


def _add_curve(figure: go.Figure, name: str, points: Mapping[str, Number], colour: str) -> None:
    """Add a line, and a dashed one for the untrained encoder where it has a number."""
    labels, numbers = list(points), list(points.values())
    values, intervals = [n.value for n in numbers], [n.interval for n in numbers]
    figure.add_trace(_line(name, labels, values, intervals, colour, dash="solid"))
    if any(real(number.untrained) for number in numbers):
        others = [number.untrained for number in numbers]
        their_intervals = [number.untrained_interval for number in numbers]
        name = f"{name}, untrained"
        figure.add_trace(_line(name, labels, others, their_intervals, colour, dash="dash"))


def _line(
    name: str,
    labels: list[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None],
    colour: str,
    *,
    dash: str,
) -> go.Scatter:
    texts = [_hover(value, interval) for value, interval in zip(values, intervals, strict=True)]
    return go.Scatter(
        mode="lines+markers",
        name=name,
        showlegend=dash == "solid",
        opacity=1.0 if dash == "solid" else 0.65,
        x=labels,
        y=[value if real(value) else None for value in values],
        customdata=texts,
        hovertemplate="%{customdata}",
        line=line_style(colour, dash=dash),
        marker={"color": colour, "size": 6},
        error_y=_whiskers(values, intervals, colour),
    )


def _whiskers(
    values: Sequence[float | None], intervals: Sequence[Interval | None], colour: str
) -> dict[str, Any]:
    """Return plotly's error bars: how far each interval goes above and below its value."""
    if not any(intervals):
        return {"visible": False}
    pairs = [
        (value, interval) if real(value) and interval else (0.0, (0.0, 0.0))
        for value, interval in zip(values, intervals, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in pairs],
        "arrayminus": [value - low for value, (low, _) in pairs],
        "color": colour,
        "thickness": 1.4,
        "width": 4,
    }


def _hover(value: float | None, interval: Interval | None) -> str:
    text = shown(value, "fraction") if real(value) else "not known"
    return f"<b>{text}</b>" + (f" (95%: {between(interval)})" if interval else "")
