"""The tables of a study's page: its trials, and those that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from manta.report.parts import words
from manta.report.study.record import StudyRecord, TrialRecord
from manta.secrets import without_secrets

Cell = dict[str, Any]
"""`text`, the `key` that a column is sorted by, and the `chip` and `why` of a state."""
_CHIPS = {"complete": "good", "failed": "bad"}


def trial_table(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return `columns`, and `rows` of cells with a mark for the best trial, the front, the recipe.

    Columns are the metrics, what a trial cost, and every parameter that one of the trials has.
    """
    names = words.short_paths(path for trial in trials for path in trial.params)
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    columns = [
        *(("Trial", ""), ("State", "")),
        *((words.title(metric), metric) for metric in study.metrics),
        *(("Epochs", ""), ("Time", "")),
        *((names[path], path) for path in paths),
    ]
    front = {trial.number for trial in study.front} if len(study.metrics) > 1 else set()
    return {
        "columns": [{"title": title, "path": path} for title, path in columns],
        "rows": [_row(study, trial, paths, front) for trial in trials],
    }


def _row(
    study: StudyRecord, trial: TrialRecord, paths: Sequence[str], front: set[int]
) -> dict[str, Any]:
    first, *others = study.metrics
    values = [(first, trial.value), *((metric, trial.values.get(metric)) for metric in others)]
    cells = [
        _cell(str(trial.number), trial.number),
        _state(trial),
        *(_cell(words.number(value, metric), value) for metric, value in values),
        _cell(f"{trial.epochs:.4g}", trial.epochs),
        _cell(words.duration(trial.seconds), trial.seconds),
        *(_parameter(trial, path) for path in paths),
    ]
    kind = "front" if trial.number in front else ""
    if study.best is not None and trial.number == study.best.number:
        kind = "best"
    default = study.default is not None and trial.number == study.default.number
    return {"cells": cells, "kind": kind, "default": default}


def _cell(text: str, key: Any) -> Cell:
    """Return a cell; a number that is not finite is sorted as if it were missing."""
    missing = key is None or (isinstance(key, float) and not math.isfinite(key))
    return {"text": text, "key": "" if missing else str(key), "chip": None, "why": None}


def _state(trial: TrialRecord) -> Cell:
    why = trial.reason if trial.state == "pruned" else None
    chip = _CHIPS.get(trial.state, "plain")
    return _cell(trial.state, trial.state) | {"chip": chip, "why": why}


def _parameter(trial: TrialRecord, path: str) -> Cell:
    if path not in trial.params:
        return _cell("–", None)
    return _cell(words.setting(trial.params[path]), trial.params[path])


def failures(study: StudyRecord) -> list[dict[str, str]]:
    """Return the failed trials with their reasons."""
    return [
        {
            "number": str(trial.number),
            "epochs": f"{trial.epochs:.4g}",
            "reason": without_secrets(trial.reason or "no reason was recorded"),
            "params": ", ".join(
                f"{path} {words.setting(value)}" for path, value in trial.params.items()
            ),
            "run": (trial.run_id or "")[:12],
        }
        for trial in study.trials
        if trial.state == "failed"
    ]
