"""report.html: one self-contained page about a run, readable offline and on a phone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manta.modalities import IMAGES
from manta.report.parts import words
from manta.report.parts.charts import plot_script, plotly_library
from manta.report.parts.embedding_map import embedding_map
from manta.report.parts.images import data_uri
from manta.report.parts.template import render
from manta.report.run.curves import curve_groups
from manta.report.run.neighbours import neighbour_rows
from manta.report.run.plots import view_rows
from manta.report.run.record import RunRecord, read
from manta.report.run.summary import (
    callout,
    facts,
    floor,
    headline,
    measured_on,
    results,
    why_missing,
)
from manta.secrets import without_secrets
from manta.words import in_shell

_ANY_LENGTH = "64: any length will do"


def write_report(run_dir: Path, *, url: str | None = None) -> Path:
    """Write `report.html` into a run's folder and return its path.

    A piece that the run did not leave is named in the page.

    Args:
        url: where the run lives, if `run_dir` is a copy of it.

    Raises:
        RunError: the folder does not exist or holds no run.
    """
    run = read(run_dir)
    path = run_dir / "report.html"
    path.write_text(render("page.html", _context(run, url or str(run_dir))), encoding="utf-8")
    return path


def _context(run: RunRecord, home: str) -> dict[str, Any]:
    groups = curve_groups(run)
    charts = [chart for group in groups for chart in group.charts]
    return {
        "name": run.name,
        "noun": run.noun,
        "description": run.setting("description") or "",
        "state": words.STATES.get(
            str(run.run.get("status", "")).lower(), ("plain", "state unknown")
        ),
        "callout": callout(run),
        "headline": headline(run),
        "facts": facts(run),
        "results": results(run),
        "measured_on": measured_on(run),
        "floor": floor(run),
        "curves": groups,
        "plots": plot_script(charts),
        "plotly": plotly_library() if charts else "",
        "views": _views(run),
        "neighbours": neighbour_rows(run.samples, run.noun, run.looks),
        "map": embedding_map(run.samples, run.noun),
        "missing": why_missing(run),
        "config": without_secrets(run.config_text).strip(),
        "load": _load_code(run),
        "reproduce": _reproduce_code(run, home),
    }


def _views(run: RunRecord) -> list[dict[str, Any]]:
    return [
        {"title": title, "images": [data_uri(image) for image in images]}
        for title, images in view_rows(run.views).items()
    ]


def _load_code(run: RunRecord) -> str | None:
    """Return the code that loads the model, or None where none was registered."""
    uri = run.run.get("model_uri")
    if not uri:
        return None
    lines = ["import mlflow", "import numpy as np", ""]
    tracking = run.run.get("tracking_uri")
    if tracking:
        shown = json.dumps(without_secrets(str(tracking)), ensure_ascii=False)
        lines.append(f"mlflow.set_tracking_uri({shown})")
    lines += [f'model = mlflow.pyfunc.load_model("{uri}")', "", *_predict_lines(run)]
    return "\n".join(lines)


def _predict_lines(run: RunRecord) -> list[str]:
    """Return the code that calls a loaded model."""
    if run.noun == IMAGES:
        return [
            "images = np.zeros((2, 48, 64, 3), np.uint8)  # any size: the model preprocesses",
            "features = model.predict(images)             # one vector an image",
        ]
    if run.noun.plural == "sentences":
        return [
            'sentences = ["What is the capital of France?", "It rains."]',
            "features = model.predict(sentences)  # one vector a sentence",
        ]
    return [
        "taken = model.metadata.signature.inputs.inputs[0]  # what the model preprocesses",
        f"sides = [64 if side < 0 else side for side in taken.shape[1:]]  # {_ANY_LENGTH}",
        f"{run.noun.plural} = np.zeros((2, *sides), taken.type)",
        f"features = model.predict({run.noun.plural})  # one vector {run.noun.with_article}",
    ]


def _reproduce_code(run: RunRecord, home: str) -> str:
    commit = run.run.get("git_commit")
    lines = [f"git checkout {commit}"] if commit else []
    recipe = f"{home}/experiment.yaml"
    if "://" in home:  # recipes are read from disks
        lines.append(f"# experiment.yaml is the configuration below, and {without_secrets(recipe)}")
        recipe = "experiment.yaml"
    return "\n".join([*lines, f"manta train {in_shell(recipe)} --name {run.name}-again"])
