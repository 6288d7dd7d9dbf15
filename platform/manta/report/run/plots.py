"""plots/*.png of a run: what its MLflow run carries.

Only matplotlib's object-oriented interface is used: a figure belongs to its caller, and nothing is
left to pyplot.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manta.report.parts import embedding, words
from manta.report.parts.images import sheet
from manta.report.parts.palette import LIGHT, label_colours
from manta.report.parts.samples import Array, Samples
from manta.report.run.panels import FEW_POINTS, Line, Panel, panels
from manta.report.run.record import RunRecord, read

_SHOWN = 8
_DASHES = (0, (4, 3))


def write_plots(run_dir: Path) -> list[Path]:
    """Draw whatever the run's folder has data for into `plots/`, and return the files.

    Raises:
        RunError: the folder holds no run.
    """
    run = read(run_dir)
    figures = {name: curves_figure(rows) for name, rows in panels(run).items()}
    if run.samples is not None and embedding.trouble(run.samples.features) is None:
        figures["embedding"] = _embedding_figure(run.samples)
    if run.views:
        figures["views"] = _views_figure(run)
    folder = run_dir / "plots"
    folder.mkdir(exist_ok=True)
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        path.write_bytes(_png(figure))
        written.append(path)
    return written


def view_rows(views: dict[str, Array], most: int = _SHOWN) -> dict[str, list[Array]]:
    """Return row title -> images: the source above its views, one column an image."""
    return {_row_title(name): list(images[:most]) for name, images in views.items()}


def curves_figure(rows: Sequence[Panel]) -> Figure:
    """Return panels under one another over the same steps."""
    figure = Figure(figsize=(6.4, 0.45 + 1.75 * len(rows)), facecolor=LIGHT.card)
    figure.set_layout_engine("constrained", h_pad=0.08)
    for place, panel in enumerate(rows, start=1):
        axes = figure.add_subplot(len(rows), 1, place)
        _style(axes, panel)
        for line in panel.lines:
            _draw(axes, line)
        for line in panel.lines:
            if line.untrained is not None:
                _draw_untrained(axes, line, line.untrained, several=len(panel.lines) > 1)
        if len(panel.lines) > 1:
            _legend(axes, panel)
        if panel.from_zero:
            axes.set_ylim(bottom=0)
        if place == len(rows):
            axes.set_xlabel("step", fontsize=8, color=LIGHT.faint)
    return figure


def _style(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=9, color=LIGHT.ink)
    axes.set_facecolor("none")
    axes.grid(axis="y", color=LIGHT.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, labelcolor=LIGHT.faint)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlim(*panel.steps)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LIGHT.rule)


def _draw(axes: Axes, line: Line) -> None:
    marker = "o" if len(line.steps) <= FEW_POINTS else ""
    shown = line.values
    if line.trend is not None:
        axes.plot(line.steps, line.values, color=line.colour, linewidth=0.8, alpha=0.3)
        shown = line.trend
    axes.plot(
        line.steps,
        shown,
        color=line.colour,
        linewidth=1.6,
        label=line.title,
        marker=marker,
        markersize=3,
    )


def _draw_untrained(axes: Axes, line: Line, value: float, *, several: bool) -> None:
    """Draw a dashed line; it is labelled where it stands alone, so that no label hides another."""
    colour = line.colour if several else LIGHT.faint
    axes.axhline(value, color=colour, linewidth=1.2, linestyle=_DASHES)
    if not several:
        axes.annotate(
            f"untrained {words.number(value, line.metric)}",
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=colour,
        )


def _legend(axes: Axes, panel: Panel) -> None:
    if any(line.untrained is not None for line in panel.lines):
        axes.plot([], [], color=LIGHT.faint, linewidth=1.2, linestyle=_DASHES, label="untrained")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
        ncols=len(panel.lines) + 1,
        frameon=False,
        fontsize=8,
        labelcolor=LIGHT.ink,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _row_title(name: str) -> str:
    return "source" if name == "source" else f"view {int(name.removeprefix('view_')) + 1}"


def _embedding_figure(samples: Samples) -> Figure:
    """Return both maps, of the trained and of the untrained encoder."""
    figure = Figure(figsize=(9, 4.6), layout="constrained", facecolor=LIGHT.card)
    colours = label_colours(samples.labels, len(samples.thumbnails))
    maps = {"trained": samples.features, "untrained": samples.random_features}
    for column, (title, features) in enumerate(maps.items(), start=1):
        axes = figure.add_subplot(1, 2, column)
        axes.set_title(title, loc="left", fontsize=10, color=LIGHT.ink)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(LIGHT.rule)
        if embedding.trouble(features) is None:
            x, y = embedding.project(features).T
            axes.scatter(x, y, c=colours, s=14, linewidths=0)
    return figure


def _views_figure(run: RunRecord) -> Figure:
    rows = view_rows(run.views)
    side, gap = 64, 4
    pictures = sheet(list(rows.values()), side, gap)
    height, width = pictures.shape[:2]
    size = (1 + width / 72, 0.2 + height / 72)
    figure = Figure(figsize=size, layout="constrained", facecolor=LIGHT.card)
    axes = figure.add_subplot()
    axes.imshow(pictures, interpolation="nearest")
    axes.set_xticks([])
    middles = [side / 2 + place * (side + gap) for place in range(len(rows))]
    axes.set_yticks(middles, list(rows), fontsize=9)
    axes.tick_params(length=0, labelcolor=LIGHT.ink)
    axes.set_frame_on(False)
    return figure
