"""How results show themselves: a few lines in a shell, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[str, Any]
WIDTH = 12
"""Characters of the first column in a shell."""
_BESIDE = ("random_", "floor_")
"""Prefixes of the untrained encoder's metrics and of the floor's."""


def as_text(title: str, rows: Iterable[Row]) -> str:
    """Return `title` and a line for each row whose value is not None."""
    lines = [f"  {key:<{WIDTH}} {value}" for key, value in rows if value is not None]
    return "\n".join([title, *lines])


def as_html(title: str, rows: Iterable[Row], tables: Sequence[Any] = ()) -> str:
    """Return the same as HTML.

    Args:
        tables: pandas data frames that are shown beneath.
    """
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th>"
        f"<td style='text-align:left'>{_html(value)}</td></tr>"
        for key, value in rows
        if value is not None
    )
    shown = "".join(table.to_html(float_format="{:.4g}".format, na_rep="") for table in tables)
    return f"<div><b>{escape(title)}</b><table>{cells}</table>{shown}</div>"


def _html(value: Any) -> str:
    text, shown = str(value), escape(str(value))
    if not text.endswith(".html"):
        return shown
    link = escape(text if "://" in text else quote(text))  # a path may hold `?`, `#` and `%`
    return f"<a href='{link}' target='_blank'>{shown}</a>"


def metric_rows(metrics: Mapping[str, float]) -> list[Row]:
    """Return a row for each metric, with the untrained encoder's number and the floor beside it."""
    rows: list[Row] = []
    for name, value in metrics.items():
        if name.startswith(_BESIDE):
            continue
        both = {"untrained": metrics.get(f"random_{name}"), "floor": metrics.get(f"floor_{name}")}
        known = [f"{whose} {one:.4g}" for whose, one in both.items() if one is not None]
        beside = f" ({', '.join(known)})" if known else ""
        rows.append((name, f"{value:.4g}{beside}"))
    return rows


def metric_table(
    metrics: Mapping[str, float], intervals: Mapping[str, Sequence[float]] | None = None
) -> pd.DataFrame:
    """Return a data frame, one row a metric.

    Args:
        intervals: ends of the 95% interval by metric; without them there are no such columns.

    Returns:
        Columns `trained`, `low` and `high` (NaN where there is no interval), `untrained`, and where
        there is one `floor`.
    """
    import pandas as pd

    names = [name for name in metrics if not name.startswith(_BESIDE)]
    columns: dict[str, list[float | None]] = {"trained": [metrics[name] for name in names]}
    if intervals is not None:
        ends = [intervals.get(name) or (None, None) for name in names]
        columns |= {"low": [low for low, _ in ends], "high": [high for _, high in ends]}
    columns["untrained"] = [metrics.get(f"random_{name}") for name in names]
    if any(name.startswith("floor_") for name in metrics):
        columns["floor"] = [metrics.get(f"floor_{name}") for name in names]
    return pd.DataFrame(columns, index=pd.Index(names, name="metric"), dtype=float)
