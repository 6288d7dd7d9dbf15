"""What a study is to its page, and the words and numbers drawn from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from manta.report.parts import words
from manta.report.parts.facts import Fact
from manta.report.study.record import StudyRecord, TrialRecord
from manta.secrets import without_secrets

AGREES, ROUGHLY = 0.6, 0.3
"""Kendall's tau from which a metric ranks trials like kNN, and from which it does so roughly."""
_FEW = 10
_CHIPS = {"complete": "good", "failed": "bad"}


def headline(study: StudyRecord) -> dict[str, Any] | None:
    """The best configuration against the recipe's own, by the first metric; None before a trial has
    finished."""
    best, default = study.best, study.default
    if best is None or best.value is None:
        return None
    metric = study.metrics[0]
    own = default.value if default is not None and default.state == "complete" else None
    gain = None if own is None else (best.value - own) * (1 if study.modes[0] == "max" else -1)
    bar = None
    if own is not None and words.is_fraction(metric):
        bar = (100 * min(own, best.value), 100 * max(own, best.value))
    return {
        "title": f"{words.title(metric)}, recipe to best trial",
        "own": "" if own is None else words.number(own, metric),
        "best": words.number(best.value, metric),
        "number": best.number,
        "change": "" if gain is None or gain <= 0 else words.change(best.value, own, metric),
        "bar": bar,
        "note": _against(study, gain),
    }


def _against(study: StudyRecord, gain: float | None) -> str:
    """What the change is a change from."""
    default = study.default
    if gain is not None and gain <= 0:
        return "No trial did better than the recipe's own configuration (trial 0)."
    if gain is not None:
        return "against the recipe's own configuration (trial 0)"
    if default is None or default.state in ("waiting", "running"):
        return "The recipe's own configuration (trial 0) has not finished, so there is nothing to compare with yet."
    so_far = "" if default.value is None else f" at {words.number(default.value, study.metrics[0])}"
    return f"The recipe's own configuration (trial 0) was {default.state} after {_epochs(default.epochs)}{so_far}."


def state(study: StudyRecord) -> tuple[str, str]:
    """The chip beside the name: its class, its words."""
    ended = sum(trial.state not in ("waiting", "running") for trial in study.trials)
    if ended >= study.planned:
        return "good", f"{ended} trials"
    return "plain", f"{ended} of {study.planned} trials"


def facts(study: StudyRecord) -> list[Fact]:
    counts = Counter(trial.state for trial in study.trials)
    spent, whole = sum(trial.epochs for trial in study.trials), whole_epochs(study)
    seconds = sum(trial.seconds for trial in study.trials)
    others = [
        f"{counts[name]} {name}"
        for name in ("pruned", "failed", "running", "waiting")
        if counts[name]
    ]
    known = [
        Fact("Trials", f"{counts['complete']} complete", ", ".join(others)),
        Fact(
            "Epochs spent",
            f"{spent:,.4g}",
            ""
            if not whole
            else f"{spent / whole:.0%} of the {whole:,.4g} that every trial in full would take",
        ),
        Fact("Time of all trials", words.duration(seconds), ""),
        Fact("Search", study.sampler, f"seed {study.seed}"),
        Fact("Stopping", study.scheduler, f"a whole trial is {study.fidelity:g} {study.unit}"),
        Fact(
            "Space",
            study.space,
            f"{len({path for trial in study.trials for path in trial.params})} parameters",
        ),
        Fact("Metric", *_metrics(study)),
        Fact("Study run", (study.study_run_id or "")[:12], "in MLflow"),
    ]
    return [fact for fact in known if fact.value]


def whole_epochs(study: StudyRecord) -> float | None:
    """Epochs if every started trial had its full budget; None where that is not known."""
    started = sum(trial.state != "waiting" for trial in study.trials)
    if study.unit == "epochs":
        return study.fidelity * started
    complete = [trial.epochs for trial in study.trials if trial.state == "complete"]
    return median(complete) * started if complete else None


def changes(study: StudyRecord, importances: Mapping[str, float]) -> list[dict[str, str]]:
    """One row a parameter that the best trial has otherwise than the recipe; the important ones
    first."""
    if study.best is None:
        return []
    rows = []
    for path, value in study.best.params.items():
        old, new = words.setting(_own(study, path)), words.setting(value)
        if old != new:
            share = importances.get(path)
            rows.append(
                {
                    "path": path,
                    "old": old,
                    "new": new,
                    "importance": "" if share is None else f"{share:.0%}",
                }
            )
    return sorted(rows, key=lambda row: -importances.get(row["path"], 0.0))


def _own(study: StudyRecord, path: str) -> Any:
    """The recipe's value; a dash where it has none, as for a parameter of another objective."""
    if study.default is not None and path in study.default.params:
        return study.default.params[path]
    value: Any = study.recipe
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return "–"
        value = value[key]
    return value


def trial_table(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Columns, and rows of cells `{text, key}`; `key` is what a column is sorted by."""
    names = words.short_paths(path for trial in trials for path in trial.params)
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    extra = list(study.metrics[1:])
    columns = [{"title": title, "path": ""} for title in ("Trial", "State")]
    columns += [
        {"title": words.title(metric), "path": metric} for metric in (study.metrics[0], *extra)
    ]
    columns += [{"title": title, "path": ""} for title in ("Epochs", "Time")]
    columns += [{"title": names[path], "path": path} for path in paths]
    best, front = study.best, {trial.number for trial in study.front} if extra else set()
    rows = []
    for trial in trials:
        cells = [_cell(str(trial.number), trial.number), _cell(trial.state, trial.state)]
        cells[1]["chip"] = _CHIPS.get(trial.state, "plain")
        cells[1]["why"] = trial.reason if trial.state == "pruned" else None
        cells.append(_cell(words.number(trial.value, study.metrics[0]), trial.value))
        cells += [
            _cell(words.number(trial.values.get(metric), metric), trial.values.get(metric))
            for metric in extra
        ]
        cells += [
            _cell(f"{trial.epochs:.4g}", trial.epochs),
            _cell(words.duration(trial.seconds), trial.seconds),
        ]
        cells += [_parameter(trial, path) for path in paths]
        kind = (
            "best"
            if best is not None and trial.number == best.number
            else "front"
            if trial.number in front
            else ""
        )
        default = study.default is not None and trial.number == study.default.number
        rows.append({"cells": cells, "kind": kind, "default": default})
    return {"columns": columns, "rows": rows}


def _cell(text: str, key: Any) -> dict[str, Any]:
    """Numbers that are not finite are sorted as if they were missing."""
    missing = key is None or (isinstance(key, float) and not math.isfinite(key))
    return {"text": text, "key": "" if missing else str(key), "chip": None, "why": None}


def _parameter(trial: TrialRecord, path: str) -> dict[str, Any]:
    return (
        _cell(words.setting(trial.params[path]), trial.params[path])
        if path in trial.params
        else _cell("–", None)
    )


def failures(study: StudyRecord) -> list[dict[str, str]]:
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


def trust(taus: Mapping[str, float | None]) -> list[dict[str, str]]:
    """For each metric that needs no labels: how far it ranked the trials as kNN does; the best
    first."""
    ordered = sorted(
        taus.items(), key=lambda item: -math.inf if item[1] is None else item[1], reverse=True
    )
    return [
        {
            "title": words.title(name),
            "tau": "–" if tau is None else _signed(tau),
            "meaning": _meaning(name, tau),
        }
        for name, tau in ordered
    ]


def _meaning(name: str, tau: float | None) -> str:
    if tau is None:
        return f"Too few trials have both {name} and kNN, or all have the same value: nothing can be said."
    told = f"(tau {_signed(tau)})"
    if tau >= AGREES:
        return (
            f"On your data, {name} ranked the trials like kNN {told}; use it when labels are gone."
        )
    if tau >= ROUGHLY:
        return f"On your data, {name} agreed with kNN roughly {told}: it drops bad trials, but does not pick the best."
    if tau > -ROUGHLY:
        return f"On your data, {name} said little about kNN {told}; do not choose by it."
    return f"On your data, {name} ranked the trials against kNN {told}; choosing by it would choose bad encoders."


def few_compared(study: StudyRecord) -> str:
    """A caution for taus of a handful of trials."""
    ended = sum(trial.state == "complete" for trial in study.trials)
    return (
        ""
        if ended >= _FEW
        else f"Only {ended} trials are complete, so these numbers may move much with a few more."
    )


def _signed(tau: float) -> str:
    return f"{tau:.2f}".replace("-", "−")


def _epochs(value: float) -> str:
    return f"{value:.4g} epoch{'' if value == 1 else 's'}"


def _metrics(study: StudyRecord) -> tuple[str, str]:
    """The first metric, and what is said of it and the others."""
    told = {"max": "more is better", "min": "less is better"}
    first, *others = [
        (words.title(metric), told.get(mode, mode))
        for metric, mode in zip(study.metrics, study.modes, strict=True)
    ]
    return first[0], "; ".join([first[1], *(f"{title}: {mode}" for title, mode in others)])
