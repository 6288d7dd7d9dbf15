"""Bars and curves with intervals, as plotly takes them.

Colours are names of the page's CSS variables (`--series-0`): the page's script puts their values
in, again whenever the colour scheme changes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from manta.report.evaluation.numbers import Interval, Number, between, shown

Figure = dict[str, Any]
"""id, title, caption, wide, height, traces and layout."""

SERIES = tuple(f"--series-{place}" for place in range(5))
FAINT, INK, RULE, GROUND = "--faint", "--ink", "--rule", "--ground"
_HEIGHT = 300
_ROW, _ROW_OF_TWO = 34, 46
_AXIS = {
    "gridcolor": RULE,
    "linecolor": RULE,
    "zeroline": False,
    "automargin": True,
    "fixedrange": True,
}
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif"


def bars(
    name: str, title: str, caption: str, rows: list[tuple[str, Number]], *, wide: bool = False
) -> Figure | None:
    """Horizontal bars, the first on top: each number with its interval, the untrained encoder's
    beneath."""
    rows = [
        (html.escape(label), number)
        for label, number in rows
        if number.finite or real(number.untrained)
    ]
    if not any(number.finite for _, number in rows):
        return None
    labels = [label for label, _ in rows]
    paired = any(number.untrained is not None for _, number in rows)
    own = "trained" if paired else ""
    traces = [
        bar_trace(own, labels, [n.value for _, n in rows], SERIES[0], [n.interval for _, n in rows])
    ]
    if paired:
        others = [number.untrained for _, number in rows]
        whiskers = [number.untrained_interval for _, number in rows]
        traces.append(bar_trace("untrained", labels, others, FAINT, whiskers))
    layout = bar_layout(len(rows) * (_ROW_OF_TWO if paired else _ROW) + (70 if paired else 40))
    layout |= {
        "showlegend": paired,
        "annotations": ends({label: number.value for label, number in rows}),
    }
    return figure(name, title, caption, traces, layout, wide=wide)


def bar_trace(
    name: str,
    labels: Sequence[str],
    values: Sequence[float | None],
    colour: str,
    intervals: Sequence[Interval | None] = (),
) -> dict[str, Any]:
    kept = list(intervals) or [None] * len(values)
    texts = [_hover(value, interval) for value, interval in zip(values, kept, strict=True)]
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(labels),
        "x": [value if real(value) else None for value in values],
        "customdata": texts,
        "hovertemplate": f"%{{customdata}}<extra>{name}</extra>",
        "marker": {"color": colour},
        "error_x": _error(values, kept, INK),
    }


def curves(
    name: str,
    title: str,
    caption: str,
    axis: str,
    series: list[tuple[str, dict[str, Number]]],
    *,
    fewest: int = 2,
    zero: bool = False,
) -> Figure | None:
    """Lines over labels that are evenly spaced, dashed for the untrained encoder.

    Args:
        fewest: points below which there is no curve.
        zero: whether the axis of values begins at 0.
    """
    kept = [
        (label, points)
        for label, points in series
        if sum(p.finite for p in points.values()) >= fewest
    ]
    if not kept:
        return None
    longest_first = sorted((points for _, points in kept), key=len, reverse=True)
    order = list(dict.fromkeys(html.escape(label) for points in longest_first for label in points))
    traces = []
    paired = any(real(number.untrained) for _, points in kept for number in points.values())
    for place, (label, points) in enumerate(kept):
        own, colour = list(points.values()), SERIES[place % len(SERIES)]
        labels, label = [html.escape(point) for point in points], html.escape(label)
        values, intervals = [n.value for n in own], [n.interval for n in own]
        traces.append(_line(label, labels, values, intervals, colour, dash="solid"))
        if any(real(number.untrained) for number in own):
            others, whiskers = [n.untrained for n in own], [n.untrained_interval for n in own]
            traces.append(
                _line(f"{label}, untrained", labels, others, whiskers, colour, dash="dash")
            )
    if paired:
        key = {"color": FAINT, "dash": "dash", "width": 2}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "untrained",
                "x": [None],
                "y": [None],
                "line": key,
            }
        )
    layout = _layout(_HEIGHT) | {"hovermode": "x unified", "showlegend": paired or len(kept) > 1}
    layout["xaxis"] |= {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": order,
        "title": {"text": axis, "standoff": 8},
        "showgrid": False,
    }
    layout["yaxis"] |= {"tickformat": ".2~f"} | ({"rangemode": "tozero"} if zero else {})
    return figure(name, title, caption, traces, layout)


def _line(
    name: str,
    labels: list[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None],
    colour: str,
    *,
    dash: str,
) -> dict[str, Any]:
    texts = [_hover(value, interval) for value, interval in zip(values, intervals, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "showlegend": dash == "solid",
        "opacity": 1.0 if dash == "solid" else 0.65,
        "x": labels,
        "y": [value if real(value) else None for value in values],
        "customdata": texts,
        "hovertemplate": "%{customdata}",
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 6},
        "error_y": _error(values, intervals, colour),
    }


def figure(
    name: str,
    title: str,
    caption: str,
    traces: list[dict[str, Any]],
    layout: dict[str, Any],
    *,
    wide: bool = False,
) -> Figure:
    return {
        "id": f"figure-{name}",
        "title": title,
        "caption": caption,
        "wide": wide,
        "height": layout["height"],
        "traces": traces,
        "layout": layout,
    }


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "autosize": True,
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": FAINT},
        "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
        "xaxis": dict(_AXIS),
        "yaxis": dict(_AXIS),
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "hoverlabel": {
            "bgcolor": GROUND,
            "bordercolor": RULE,
            "font": {"color": INK},
            "align": "left",
        },
    }


def bar_layout(height: int) -> dict[str, Any]:
    layout = _layout(height)
    layout["margin"] |= {"r": 52}
    layout["xaxis"] |= {"rangemode": "tozero", "tickformat": ".2~f"}
    layout["yaxis"] |= {
        "type": "category",
        "autorange": "reversed",
        "showgrid": False,
        "ticksuffix": "  ",
    }
    return layout | {
        "barmode": "group",
        "bargap": 0.35,
        "bargroupgap": 0.08,
        "hovermode": "closest",
    }


def ends(values: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """The values again as text, at the right end of each row of bars."""
    place = {
        "xref": "paper",
        "x": 1,
        "xanchor": "left",
        "showarrow": False,
        "font": {"color": INK, "size": 13},
    }
    return [
        place | {"y": label, "text": shown(value, "fraction")}
        for label, value in values.items()
        if real(value)
    ]


def _error(
    values: Sequence[float | None], intervals: Sequence[Interval | None], colour: str
) -> dict[str, Any]:
    if not any(intervals):
        return {"visible": False}
    pairs = [
        (v, i) if real(v) and i else (0.0, (0.0, 0.0))
        for v, i in zip(values, intervals, strict=True)
    ]
    up = [high - value for value, (_, high) in pairs]
    down = [value - low for value, (low, _) in pairs]
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "color": colour,
        "thickness": 1.4,
        "width": 4,
    }


def _hover(value: float | None, interval: Interval | None) -> str:
    text = shown(value, "fraction") if real(value) else "not known"
    return f"<b>{text}</b>" + (f" (95%: {between(interval)})" if interval else "")


def real(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
