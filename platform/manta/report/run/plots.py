"""plots/*.png of a run: what its MLflow run carries."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from manta.report.parts import embedding
from manta.report.parts.colours import label_colours
from manta.report.parts.images import sheet
from manta.report.parts.samples import Array, Samples
from manta.report.run.figures import LIGHT, draw, panels, png
from manta.report.run.record import RunFolder, read

_SHOWN = 8


def write_plots(run_dir: Path) -> list[Path]:
    """Draws whatever the run's folder has data for into `plots/`.

    Raises:
        RunError: the folder holds no run.
    """
    run = read(run_dir)
    figures = {name: draw(run, rows, LIGHT) for name, rows in panels(run).items()}
    if run.samples is not None and embedding.trouble(run.samples.features) is None:
        figures["embedding"] = _embedding_figure(run.samples)
    if run.views:
        figures["views"] = _views_figure(run)
    folder = run_dir / "plots"
    folder.mkdir(exist_ok=True)
    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        path.write_bytes(png(figure))
        written.append(path)
    return written


def view_rows(views: dict[str, Array], most: int = _SHOWN) -> dict[str, list[Array]]:
    """Row title to images: the source above its views, one column an image."""
    return {_row_title(name): list(images[:most]) for name, images in views.items()}


def _row_title(name: str) -> str:
    return "source" if name == "source" else f"view {int(name.removeprefix('view_')) + 1}"


def _embedding_figure(samples: Samples) -> Figure:
    figure = Figure(figsize=(9, 4.6), layout="constrained", facecolor=LIGHT.background)
    colours = label_colours(samples.labels, len(samples.thumbnails))
    for column, (title, features) in enumerate(
        [("trained", samples.features), ("untrained", samples.random_features)], start=1
    ):
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


def _views_figure(run: RunFolder) -> Figure:
    rows = view_rows(run.views)
    side, gap = 64, 4
    pictures = sheet(list(rows.values()), side, gap)
    height, width = pictures.shape[:2]
    figure = Figure(
        figsize=(1 + width / 72, 0.2 + height / 72),
        layout="constrained",
        facecolor=LIGHT.background,
    )
    axes = figure.add_subplot()
    axes.imshow(pictures, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks(
        [side / 2 + index * (side + gap) for index in range(len(rows))], list(rows), fontsize=9
    )
    axes.tick_params(length=0, labelcolor=LIGHT.ink)
    axes.set_frame_on(False)
    return figure
