"""study.html: one self-contained page about a study, readable offline and on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from manta.report.parts.charts import chart_of, paired_up, plot_script, plotly_library
from manta.report.parts.template import render
from manta.report.study import summary
from manta.report.study.record import StudyRecord
from manta.report.study.trials import failures, trial_table
from manta.secrets import without_secrets
from manta.words import in_shell


def write_study_page(
    folder: Path,
    record: StudyRecord,
    figures: Mapping[str, Figure | str],
    importances: Mapping[str, float],
    taus: Mapping[str, float | None],
    *,
    storage: str | None = None,
    url: str | None = None,
) -> Path:
    """Write `study.html` into a study's folder and return its path.

    Args:
        figures: title -> figure, or why there is none. `layout.meta` is a sentence on how to read
            it, `layout.width` the least that it is shown at: a narrower screen scrolls.
        importances: dotted path -> share of 1.
        taus: metric that needs no labels -> Kendall's tau with kNN over the complete trials, 1
            where both order them alike from worst to best; None where it cannot be had.
        storage: URL of Optuna's database; None where it is not known.
        url: of the study's folder, where `folder` is a copy of it.
    """
    path = folder / "study.html"
    path.write_text(
        render(
            "study.html", _context(url or str(folder), record, figures, importances, taus, storage)
        ),
        "utf-8",
    )
    return path


def _context(
    folder: str,
    record: StudyRecord,
    figures: Mapping[str, Figure | str],
    importances: Mapping[str, float],
    taus: Mapping[str, float | None],
    storage: str | None,
) -> dict[str, Any]:
    plural = len(record.metrics) > 1
    charts = paired_up(
        [chart_of(title, drawn) for title, drawn in figures.items() if isinstance(drawn, Figure)]
    )
    return {
        "name": record.name,
        "state": summary.state(record),
        "headline": summary.headline(record),
        "facts": summary.facts(record),
        "changes": summary.changes(record, importances),
        "best": record.best,
        "charts": charts,
        "missing": {title: reason for title, reason in figures.items() if isinstance(reason, str)},
        "trust": summary.trust(taus),
        "few_compared": summary.few_compared(record),
        "labelled": record.labelled,
        "front": trial_table(record, record.front) if plural else None,
        "trials": trial_table(record, record.trials),
        "failures": failures(record),
        "train": f"manta train {in_shell(f'{folder}/best.yaml')} --name {record.name}-best",
        "dashboard": None if storage is None else _dashboard(storage),
        "plots": plot_script(charts),
        "plotly": plotly_library() if charts else "",
    }


def _dashboard(storage: str) -> str:
    return f"optuna-dashboard {in_shell(without_secrets(storage))}"
