"""The schedule that PBT finds: the values that the best trial's weights were trained with."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from manta.errors import ConfigError
from manta.report.parts import words
from manta.report.parts.charts import grid, line_style, log_axis
from manta.report.parts.palette import LIGHT
from manta.report.study.record import StudyRecord
from manta.runs.folder import RunFolder
from manta.tuning.study.study import StoredStudy
from manta.tuning.trials.resume import RUNGS

SCHEDULE = "best-schedule.json"


def best_path(study: StoredStudy, record: StudyRecord) -> dict[str, Any] | None:
    """Return the values that the best trial's weights were trained with, the oldest first.

    The weights may be another trial's up to some point: its values then count up to there.

    Returns:
        `{"trial", "unit", "metric", "path": [{"from", "to", "value", "params"}]}`, where `value` is
        the first metric's at `to`; None where nothing changed on the way.
    """
    if record.best is None:
        return None
    folder = RunFolder(f"{study.folder.url}/trials/{record.best.number:04d}")
    rungs = folder.read_json(RUNGS) if folder.exists(RUNGS) else []
    path: list[dict[str, Any]] = []
    for rung in rungs:
        if rung["drawn"] is None:
            return None
        try:
            params = study.space.values(rung["drawn"])
        except ConfigError:  # drawn from an older space
            return None
        end = rung["step"] if record.unit == "steps" else rung["epochs"]
        reached = {"to": end, "value": rung["values"].get(record.metrics[0])}
        if path and path[-1]["params"] == params:
            path[-1] |= reached
        else:
            path.append({"from": path[-1]["to"] if path else 0, **reached, "params": params})
    if len(path) < 2:
        return None
    return {
        "trial": record.best.number,
        "unit": record.unit,
        "metric": record.metrics[0],
        "path": path,
    }


def schedule_figure(schedule: dict[str, Any]) -> go.Figure:
    """Return each value that changed, over the resource, of what `best_path` returns."""
    path = schedule["path"]
    first, last = path[0]["params"], path[-1]["params"]
    changed = [
        name for name in last if any(part["params"].get(name) != first.get(name) for part in path)
    ]
    short = words.short_paths(changed)
    figure, places = grid(len(changed), [short[name] for name in changed])
    for name, (row, column) in zip(changed, places, strict=True):
        points = [(part[end], part["params"][name]) for part in path for end in ("from", "to")]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            line=line_style(LIGHT.accent),
            name=short[name],
            row=row,
            col=column,
        )
        low, high = min(y for _, y in points), max(y for _, y in points)
        if low > 0 and high > 10 * low:
            figure.update_yaxes(log_axis(low, high), row=row, col=column)
        figure.update_xaxes(title=schedule["unit"], row=row, col=column)
    return figure.update_layout(
        meta=f"The values that the weights of trial {schedule['trial']} were trained with, those "
        "of the trials that it copied included. "
        f"best.yaml holds the last; {SCHEDULE} holds them all."
    )
