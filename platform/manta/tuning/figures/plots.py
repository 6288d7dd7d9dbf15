"""The figures of a study's page. Optuna draws some of them, from a copy of the study."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import optuna
import plotly.graph_objects as go

from manta.report.study.record import StudyRecord
from manta.tuning.figures.curves import agreement, learning_curves, rung_survival
from manta.tuning.figures.importance import importance_figure, importances
from manta.tuning.figures.optuna_copy import (
    NotDrawn,
    copy_of_complete,
    quiet_optuna,
    short_names,
)
from manta.tuning.figures.parameters import contour, parallel_coordinates, slices
from manta.tuning.figures.values import history, pareto_front


def figures(
    study: optuna.Study, record: StudyRecord, taus: Mapping[str, float | None]
) -> dict[str, go.Figure | str]:
    """Return title -> figure, or one sentence on why there is none. Never raises.

    `layout.meta` of a figure says how to read it.

    Args:
        taus: metric that needs no labels -> Kendall's tau with kNN over the complete trials, 1
            where both order them alike from worst to best.
    """
    names = short_names(study)
    with quiet_optuna():
        copy = copy_of_complete(study, record, names)
        leading = [names[path] for path in importances(study, record)]
        makers: dict[str, Callable[[], go.Figure]] = {
            "Optimisation history": lambda: history(copy, record),
            "Importance of parameters": lambda: importance_figure(study, record, names),
            "Slices": lambda: slices(copy, record, names, leading),
            "Parallel coordinates": lambda: parallel_coordinates(copy, record, leading),
            "The two parameters that matter most": lambda: contour(copy, record, leading),
            "Rung survival": lambda: rung_survival(record),
            "Learning curves": lambda: learning_curves(record),
            "Metrics without labels against kNN": lambda: agreement(record, taus),
        }
        if len(record.metrics) > 1:
            makers = {"Pareto front": lambda: pareto_front(study, record, names)} | makers
        return {title: _drawn(make) for title, make in makers.items()}


def _drawn(make: Callable[[], go.Figure]) -> go.Figure | str:
    """Return a figure, or why there is none."""
    try:
        return make()
    except NotDrawn as reason:
        return str(reason)
    except Exception as error:  # a study's report is worth more than any one of its pictures
        reasons = str(error).splitlines() or [""]
        return f"It could not be drawn ({type(error).__name__}: {reasons[0]})."
