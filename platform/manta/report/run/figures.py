"""The run's curves as matplotlib figures, drawn once and coloured either for a file or for the
page.

Only the object-oriented interface is used: a figure belongs to its caller, nothing to pyplot.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manta.report.parts import words as words
from manta.report.parts.samples import Array
from manta.report.run.record import RunFolder

_MOST_POINTS = 400
_FEW_POINTS = 40


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by role. `series[0]` is what the run trained; `faint` is what it is compared with."""

    ink: str
    faint: str
    rule: str
    series: tuple[str, ...]
    background: str


LIGHT = Palette(
    "#1d2329",
    "#7d8790",
    "#e3e6e8",
    ("#0f766e", "#b4540a", "#5b50b8", "#2f6fb3", "#a3326b"),
    "#ffffff",
)
# Colours that stand for the page's CSS variables: replaced in the SVG, so that the curves follow
# dark mode.
MARKERS = Palette("#0a0001", "#0a0002", "#0a0003", tuple(f"#0a001{i}" for i in range(5)), "none")
_VARIABLES = {MARKERS.ink: "--ink", MARKERS.faint: "--faint", MARKERS.rule: "--rule"} | {
    marker: f"--series-{i}" for i, marker in enumerate(MARKERS.series)
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: metrics drawn together, each with the untrained encoder's value where it is
    known."""

    title: str
    metrics: list[str]
    smooth: bool = False
    from_zero: bool = False
    baselines: dict[str, float] = field(default_factory=dict)


def panels(run: RunFolder) -> dict[str, list[Panel]]:
    """Figure name to its panels; a figure without data is left out."""
    names = set(run.curves)
    scores = sorted(n for n in names if words.is_fraction(n) and not n.startswith("random_"))
    baselines = {n: v for n in names if (v := _untrained(run, n)) is not None}
    terms = sorted(n for n in names if n.startswith("loss/"))
    schedules = [n for n in ("lr", "weight_decay") if n in names] + sorted(
        n for n in names if n.startswith("schedule/")
    )
    wanted = {
        "loss": [
            Panel("Loss", ["loss"], smooth=True),
            Panel("Terms of the loss", terms if len(terms) > 1 else [], smooth=True),
            Panel(words.title("gradient_norm"), ["gradient_norm"], smooth=True),
        ],
        "evaluation": [Panel("Accuracy on held-out images", scores, baselines=baselines)],
        "features": [
            Panel(words.title(n), [n], from_zero=True, baselines=baselines)
            for n in ("rankme", "feature_rank", "feature_std")
        ],
        "schedules": [Panel(words.title(n).capitalize(), [n]) for n in schedules],
        "throughput": [
            Panel(words.title(n), [n], smooth=True, from_zero=True)
            for n in ("images_per_second", "input_wait_fraction")
        ],
    }
    drawn = {}
    for figure, rows in wanted.items():
        kept = [
            p
            for p in rows
            if any(np.isfinite(run.curves[m].values).any() for m in p.metrics if m in names)
        ]
        if kept:
            drawn[figure] = kept
    return drawn


def draw(run: RunFolder, rows: list[Panel], palette: Palette) -> Figure:
    """Panels under one another over the same steps."""
    figure = Figure(figsize=(5.2, 0.45 + 1.75 * len(rows)), facecolor=palette.background)
    figure.set_layout_engine("constrained", h_pad=0.08)
    last = max(int(curve.steps[-1]) for curve in run.curves.values())
    for index, panel in enumerate(rows):
        axes = figure.add_subplot(len(rows), 1, index + 1)
        _style(axes, panel.title, palette)
        shown = [m for m in panel.metrics if m in run.curves]
        for metric, colour in zip(shown, _cycle(palette.series), strict=False):
            _line(axes, run, metric, colour, panel, palette)
        if len(shown) > 1:
            axes.legend(
                loc="lower right",
                bbox_to_anchor=(1.0, 1.0),
                borderaxespad=0.2,
                ncols=len(shown),
                frameon=False,
                fontsize=8,
                labelcolor=palette.ink,
                handlelength=1.2,
                columnspacing=1.0,
            )
        axes.set_xlim(-0.02 * last, 1.02 * max(last, 1))
        if panel.from_zero:
            axes.set_ylim(bottom=0)
        if index == len(rows) - 1:
            axes.set_xlabel("step", fontsize=8, color=palette.faint)
    return figure


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def svg(figure: Figure, label: str) -> str:
    """An inline `<svg>` whose colours are the page's CSS variables and whose text is text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Type", "Format"))
        )
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(
        r'\bid="(?!\w*[0-9a-f]{10})[^"]*"', "", text
    )  # groups' ids repeat from figure to figure
    for marker, variable in _VARIABLES.items():
        text = text.replace(marker, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _untrained(run: RunFolder, metric: str) -> float | None:
    value = (run.evaluation.get("metrics") or {}).get(f"random_{metric}")
    if value is None and f"random_{metric}" in run.curves:
        value = run.curves[f"random_{metric}"].values[-1]
    return float(value) if value is not None and np.isfinite(value) else None


def _cycle(colours: tuple[str, ...]) -> list[str]:
    return list(colours) * 8


def _style(axes: Axes, title: str, palette: Palette) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=palette.ink)
    axes.set_facecolor("none")
    axes.grid(axis="y", color=palette.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, labelcolor=palette.faint)
    axes.locator_params(axis="y", nbins=5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.rule)


def _line(
    axes: Axes, run: RunFolder, metric: str, colour: str, panel: Panel, palette: Palette
) -> None:
    curve = run.curves[metric]
    steps, values = thin(curve.steps, curve.values)
    label = words.title(metric).removesuffix(" accuracy")
    smooth = panel.smooth and len(steps) > _FEW_POINTS
    if smooth:
        axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
        axes.plot(steps, smoothed(values), color=colour, linewidth=1.6, label=label)
    else:
        few = len(steps) <= _FEW_POINTS
        axes.plot(
            steps,
            values,
            color=colour,
            linewidth=1.6,
            label=label,
            marker="o" if few else "",
            markersize=3,
        )
    baseline = panel.baselines.get(metric)
    if baseline is not None:
        alone = len([m for m in panel.metrics if m in run.curves]) == 1
        axes.axhline(
            baseline, color=palette.faint if alone else colour, linewidth=1.2, linestyle=(0, (4, 3))
        )
        axes.annotate(
            f"untrained {words.number(baseline, metric)}",
            (1.0, baseline),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=palette.faint if alone else colour,
        )


def thin(steps: Array, values: Array, most: int = _MOST_POINTS) -> tuple[Array, Array]:
    """At most `most` points: means over equal runs of finite ones, each at the last step of its
    run."""
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(steps) <= most:
        return steps, values
    edges = np.linspace(0, len(steps), most + 1).astype(np.int64)
    return steps[edges[1:] - 1], np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def smoothed(values: Array, span: float = 0.06) -> Array:
    """Centred moving average over `span` of the curve; its window is cut at the ends."""
    window = np.ones(max(3, round(span * len(values))))
    return np.asarray(
        np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")
    )
