"""What a run's curves show: which metrics stand together, thinned and smoothed.

The page draws these panels with plotly (`run.curves`), the files of `plots/` with matplotlib
(`run.plots`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manta.report.parts import words
from manta.report.parts.palette import LIGHT
from manta.report.parts.samples import Array
from manta.report.run.record import RunRecord

FEW_POINTS = 40
"""Up to here every point is marked, and nothing is smoothed."""
_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One metric over the run.

    Attributes:
        metric, title: its name in the log and on the page.
        steps, values: `[P]`, finite; at most 400 points.
        trend: `[P]`, the values smoothed; None where they are drawn as they are.
        untrained: the same metric of the untrained encoder, or None.
    """

    metric: str
    title: str
    colour: str
    steps: Array
    values: Array
    trend: Array | None
    untrained: float | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes with the metrics that are drawn together.

    Attributes:
        from_zero: whether the axis of values begins at 0.
        last_step: of the whole run, at which the axis of steps ends.
    """

    title: str
    lines: tuple[Line, ...]
    last_step: int
    from_zero: bool = False

    @property
    def steps(self) -> tuple[float, float]:
        """Both ends of the axis of steps, the same in every panel."""
        return -0.02 * self.last_step, 1.02 * max(self.last_step, 1)


def panels(run: RunRecord) -> dict[str, list[Panel]]:
    """Return the panels of each figure; a figure without data is left out."""
    names = set(run.curves)
    scores = sorted(n for n in names if words.is_fraction(n) and not n.startswith(words.BESIDE))
    terms = sorted(n for n in names if n.startswith("loss/"))
    schedules = ["lr", "weight_decay", *sorted(n for n in names if n.startswith("schedule/"))]
    figures = {
        "loss": [
            _panel(run, "Loss", ["loss"], smooth=True),
            _panel(run, "Terms of the loss", terms if len(terms) > 1 else [], smooth=True),
            _panel(run, _title(run, "gradient_norm"), ["gradient_norm"], smooth=True),
        ],
        "evaluation": [
            _panel(run, f"Accuracy on held-out {run.noun.plural}", scores, baselines=True)
        ],
        "features": [
            _panel(run, _title(run, name), [name], from_zero=True, baselines=True)
            for name in ("rankme", "feature_rank", "feature_std")
        ],
        "schedules": [_panel(run, _title(run, name).capitalize(), [name]) for name in schedules],
        "throughput": [
            _panel(run, _title(run, name), [name], smooth=True, from_zero=True)
            for name in ("images_per_second", "input_wait_fraction")
        ],
    }
    kept = {name: [one for one in rows if one.lines] for name, rows in figures.items()}
    return {name: rows for name, rows in kept.items() if rows}


def _title(run: RunRecord, metric: str) -> str:
    return run.noun.said(words.title(metric))


def _panel(
    run: RunRecord,
    title: str,
    metrics: list[str],
    *,
    smooth: bool = False,
    from_zero: bool = False,
    baselines: bool = False,
) -> Panel:
    """Return the panel of those metrics that have a finite value."""
    drawn = [name for name in metrics if name in run.curves]
    drawn = [name for name in drawn if np.isfinite(run.curves[name].values).any()]
    lines = []
    for place, name in enumerate(drawn):
        steps, values = thin(run.curves[name].steps, run.curves[name].values)
        trend = smoothed(values) if smooth and len(steps) > FEW_POINTS else None
        label = _title(run, name).removesuffix(" accuracy")
        colour = LIGHT.series[place % len(LIGHT.series)]
        untrained = _untrained(run, name) if baselines else None
        lines.append(Line(name, label, colour, steps, values, trend, untrained))
    last = max((int(curve.steps[-1]) for curve in run.curves.values()), default=0)
    return Panel(title, tuple(lines), last, from_zero)


def _untrained(run: RunRecord, metric: str) -> float | None:
    """Return the untrained encoder's value: the final evaluation's, or else the last logged."""
    value = (run.evaluation.get("metrics") or {}).get(f"random_{metric}")
    if value is None and f"random_{metric}" in run.curves:
        value = run.curves[f"random_{metric}"].values[-1]
    return float(value) if value is not None and np.isfinite(value) else None


def thin(steps: Array, values: Array, most: int = _MOST_POINTS) -> tuple[Array, Array]:
    """Return at most `most` points of a curve, finite ones only.

    Each is the mean over an equal share of the points, at the last step of that share.
    """
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(steps) <= most:
        return steps, values
    edges = np.linspace(0, len(steps), most + 1).astype(np.int64)
    return steps[edges[1:] - 1], np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def smoothed(values: Array, span: float = 0.06) -> Array:
    """Return the centred moving average over `span` of the curve; the window is cut at the ends."""
    window = np.ones(max(3, round(span * len(values))))
    sums = np.convolve(values, window, "same")
    return np.asarray(sums / np.convolve(np.ones_like(values), window, "same"))
