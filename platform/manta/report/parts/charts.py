"""Figures of pages: plotly's, all in one look, in the page's light and dark colours.

A figure is made in the colours of `palette.LIGHT` and without a look of its own; the page brings
`TEMPLATE`. The library is in each page that has a figure, compressed, so that pages work offline.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeGuard

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from manta.report.parts.palette import LIGHT, dark_twins

FONT = "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif"
HEIGHT = 340
"""Pixels, of a figure that names no height."""
_WIDE = 560
_PER_ROW = 3
_AXIS = {
    "gridcolor": LIGHT.rule,
    "linecolor": LIGHT.rule,
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 12}},
}
TEMPLATE: dict[str, Any] = {
    "layout": {
        "font": {"family": FONT, "size": 12, "color": LIGHT.quiet},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
        "xaxis": _AXIS | {"showgrid": False},
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": LIGHT.card,
            "bordercolor": LIGHT.rule,
            "font": {"color": LIGHT.ink},
            "align": "left",
        },
    }
}
"""The look of every figure."""
_SET_BY_PAGE = ("template", "title", "meta", "width", "height", "plot_bgcolor")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with what the page says about it.

    Attributes:
        title: above the figure; the figure has none of its own.
        caption: one or two sentences on how to read it.
        wide: whether it takes the page's whole width, or half of it.
        least: pixels of width below which it scrolls instead of shrinking.
        name: of the figure, told apart from the others of its page; made of the title by default.
    """

    title: str
    caption: str
    figure: go.Figure
    wide: bool = False
    least: int = 0
    name: str = ""

    @property
    def id(self) -> str:
        """The identifier of the figure's element."""
        return "figure-" + (self.name or "-".join(re.findall(r"\w+", self.title.lower())))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.figure.layout.height or HEIGHT)


def chart_of(title: str, figure: go.Figure) -> Chart:
    """Return the chart of a figure that says in its `layout` how it is shown.

    `layout.meta` is the caption, `layout.width` the least width: a narrower screen scrolls.
    """
    least = int(figure.layout.width or 0)
    return Chart(title, figure.layout.meta or "", figure, wide=least >= _WIDE, least=least)


def paired_up(charts: Sequence[Chart]) -> list[Chart]:
    """Return the charts without a hole: the last of an odd number of halves is made wide."""
    halves = [place for place, chart in enumerate(charts) if not chart.wide]
    shown = list(charts)
    if len(halves) % 2:
        shown[halves[-1]] = replace(shown[halves[-1]], wide=True)
    return shown


def plot_script(charts: Sequence[Chart]) -> dict[str, Any]:
    """Return what `plots.js` needs to draw the charts, as JSON: None for numbers not finite."""
    return {
        "plots": [_plot(chart) for chart in charts],
        "template": TEMPLATE,
        "dark": dark_twins(),
    }


def _plot(chart: Chart) -> dict[str, Any]:
    written = json.loads(chart.figure.to_json())
    own = {key: value for key, value in written["layout"].items() if key not in _SET_BY_PAGE}
    layout = own | {"autosize": True, "height": chart.height}
    return {"id": chart.id, "traces": written["data"], "layout": layout}


@cache
def plotly_library() -> str:
    """Return plotly.js, deflated and in base64: 2 MB of a page instead of 5."""
    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()


def real(value: float | None) -> TypeGuard[float]:
    """Return whether a number is there and finite."""
    return value is not None and math.isfinite(value)


def line_style(colour: str, width: float = 2, dash: str = "solid") -> Mapping[str, Any]:
    """Return plotly's `line` of a trace or a shape."""
    return {"color": colour, "width": width, "dash": dash}


def log_axis(lowest: float, highest: float) -> dict[str, object]:
    """Return a logarithmic axis with whole numbers for ticks; plotly's own leave the decade out."""
    low, high = math.log10(lowest), math.log10(highest)
    room = 0.05 * max(high - low, 0.1)
    leads = (1,) if high - low > 2.5 else (1, 3) if high - low > 1.2 else (1, 2, 5)
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [lead * 10.0**power for power in powers for lead in leads]
    inside = [tick for tick in ticks if low - room <= math.log10(tick) <= high + room]
    shown = inside or [lowest]
    return {
        "type": "log",
        "range": [low - room, high + room],
        "tickvals": shown,
        "ticktext": [f"{tick:.4g}" for tick in shown],
    }


def grid(parts: int, titles: list[str] | None = None) -> tuple[go.Figure, list[tuple[int, int]]]:
    """Return a figure with axes for `parts` small plots, at most three a row.

    Returns:
        The figure, and the row and column of each plot, from 1.
    """
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
    figure.update_annotations(font={"size": 13, "color": LIGHT.ink})
    figure.update_layout(height=60 + 260 * rows, width=280 * columns, showlegend=False)
    return figure, [(1 + part // columns, 1 + part % columns) for part in range(parts)]
