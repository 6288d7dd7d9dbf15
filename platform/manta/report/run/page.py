"""report.html: one self-contained page about a run, readable offline and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manta.report.parts import words as words
from manta.report.parts.images import data_uri
from manta.report.parts.template import render
from manta.report.run import figures
from manta.report.run.plots import view_rows
from manta.report.run.record import RunFolder, read
from manta.report.run.samples import embedding_map, neighbour_rows
from manta.report.run.summary import callout, facts, headline, measured_on, results, why_missing
from manta.secrets import without_secrets

_CURVES = {
    "loss": "Loss",
    "evaluation": "Evaluation during training",
    "features": "Health of the features",
    "schedules": "Schedules",
    "throughput": "Throughput",
}


def write_report(run_dir: Path, *, url: str | None = None) -> Path:
    """Writes `report.html` into a run's folder and returns its path. Missing pieces are named in
    the page.

    Args:
        url: where the run lives, if `run_dir` is a copy of it.

    Raises:
        RunError: the folder does not exist or holds no run.
    """
    run = read(run_dir)
    path = run_dir / "report.html"
    path.write_text(render("page.html", _context(run, url or str(run_dir))), encoding="utf-8")
    return path


def _context(run: RunFolder, home: str) -> dict[str, Any]:
    return {
        "name": run.name,
        "description": run.setting("description") or "",
        "state": words.STATES.get(
            str(run.run.get("status", "")).lower(), ("plain", "state unknown")
        ),
        "callout": callout(run),
        "headline": headline(run),
        "facts": facts(run),
        "results": results(run),
        "measured_on": measured_on(run),
        "curves": _curves(run),
        "views": _views(run),
        "neighbours": neighbour_rows(run.samples),
        "map": embedding_map(run.samples),
        "missing": why_missing(run),
        "config": without_secrets(run.config_text).strip(),
        "load": _load_code(run),
        "reproduce": _reproduce_code(run, home),
    }


def _curves(run: RunFolder) -> list[dict[str, str]]:
    drawn = figures.panels(run)
    return [
        {
            "title": title,
            "svg": figures.svg(
                figures.draw(run, drawn[name], figures.MARKERS), _summary(run, name)
            ),
        }
        for name, title in _CURVES.items()
        if name in drawn
    ]


def _summary(run: RunFolder, figure: str) -> str:
    """What a curve shows, for those who cannot see it."""
    parts = []
    for panel in figures.panels(run)[figure]:
        for metric in panel.metrics:
            curve = run.curves.get(metric)
            if curve is not None:
                first, last = (words.number(float(curve.values[i]), metric) for i in (0, -1))
                parts.append(f"{words.title(metric)} from {first} to {last}")
    return f"{_CURVES[figure]}: " + "; ".join(parts)


def _views(run: RunFolder) -> list[dict[str, Any]]:
    return [
        {"title": title, "images": [data_uri(image) for image in images]}
        for title, images in view_rows(run.views).items()
    ]


def _load_code(run: RunFolder) -> str | None:
    """How to take the model home, or None when none was registered."""
    uri = run.run.get("model_uri")
    if not uri:
        return None
    lines = ["import mlflow", "import numpy as np", ""]
    tracking = run.run.get("tracking_uri")
    if tracking:
        lines.append(f'mlflow.set_tracking_uri("{without_secrets(str(tracking))}")')
    lines += [
        f'model = mlflow.pyfunc.load_model("{uri}")',
        "",
        "images = np.zeros((2, 48, 64, 3), np.uint8)  # any size; preprocessing is inside the model",
        "features = model.predict(images)             # one vector an image",
    ]
    return "\n".join(lines)


def _reproduce_code(run: RunFolder, home: str) -> str:
    commit = run.run.get("git_commit")
    lines = [f"git checkout {commit}"] if commit else []
    recipe = f"{home}/experiment.yaml"
    if "://" in home:  # recipes are read from disks
        lines.append(f"# experiment.yaml is the configuration below, and {without_secrets(recipe)}")
        recipe = "experiment.yaml"
    return "\n".join([*lines, f"manta train {recipe} --name {run.name}-again"])
