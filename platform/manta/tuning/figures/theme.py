"""How every figure of a study looks: on a light and on a dark page, in a file and on a phone."""

from __future__ import annotations

import math

import plotly.graph_objects as go
from plotly.subplots import make_subplots

SCALE = ["#c9b79c", "#7fb0a6", "#13958a"]
"""From poor to good; all of it is seen on white and on near black."""
FAINT, BEST, RECIPE = "#8d979f", "#e07b39", "#8168c9"
STATES = {"complete": SCALE[-1], "pruned": FAINT, "failed": "#d0574d", "running": "#3b82c4"}
_PER_ROW = 3
_RULE = "rgba(128, 140, 150, .22)"
_AXIS = {
    "gridcolor": _RULE,
    "linecolor": _RULE,
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 8},
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {
            "family": "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif",
            "size": 12,
            "color": FAINT,
        },
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
        "xaxis": _AXIS | {"showgrid": False},
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#1d2329", "font": {"color": "#ffffff"}},
    }
)


class NotDrawn(Exception):
    """A figure that cannot be made; the message is the sentence that stands in its place."""


def dressed(figure: go.Figure) -> go.Figure:
    """In this package's look; the page has the title."""
    return figure.update_layout(
        template=_TEMPLATE, title=None, plot_bgcolor=None, hovermode="closest"
    )


def log_axis(lowest: float, highest: float) -> dict[str, object]:
    """A logarithmic axis with whole numbers for ticks; plotly's own leave the decade out."""
    low, high = math.log10(lowest), math.log10(highest)
    room = 0.05 * max(high - low, 0.1)
    leads = (1,) if high - low > 2.5 else (1, 3) if high - low > 1.2 else (1, 2, 5)
    ticks = [
        lead * 10.0**power
        for power in range(math.floor(low) - 1, math.ceil(high) + 1)
        for lead in leads
    ]
    shown = [tick for tick in ticks if low - room <= math.log10(tick) <= high + room]
    return {
        "type": "log",
        "range": [low - room, high + room],
        "tickvals": shown or [lowest],
        "ticktext": [f"{tick:.4g}" for tick in shown or [lowest]],
    }


def grid(parts: int, titles: list[str] | None = None) -> tuple[go.Figure, list[tuple[int, int]]]:
    """Axes for `parts` small figures, at most three a row, and the row and column of each, from
    1."""
    columns = min(parts, _PER_ROW)
    rows = -(-parts // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=titles,
        shared_yaxes=titles is None,
        vertical_spacing=min(0.3, 90 / (280 * rows)),
        horizontal_spacing=0.03 if titles is None else 0.08,
    )
    figure.update_layout(height=60 + 260 * rows, width=280 * columns, showlegend=False)
    return figure, [(1 + part // columns, 1 + part % columns) for part in range(parts)]
