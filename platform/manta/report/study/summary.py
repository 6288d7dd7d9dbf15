"""The words and numbers of a study's page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any

from manta.report.parts import words
from manta.report.parts.facts import Fact
from manta.report.study.record import StudyRecord

AGREES, ROUGHLY = 0.6, 0.3
"""Kendall's tau from which a metric ranks trials like kNN, and from which it does so roughly."""
_FEW = 10


def headline(study: StudyRecord) -> dict[str, Any] | None:
    """Return the best configuration against the recipe's own, by the first metric.

    None before a trial has finished.
    """
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
    """Return what the best trial is compared with, in words."""
    default = study.default
    if gain is not None and gain <= 0:
        return "No trial did better than the recipe's own configuration (trial 0)."
    if gain is not None:
        return "against the recipe's own configuration (trial 0)"
    if default is None or default.state in ("waiting", "running"):
        return (
            "The recipe's own configuration (trial 0) has not finished, "
            "so there is nothing to compare with yet."
        )
    spent = _epochs(default.epochs)
    so_far = "" if default.value is None else f" at {words.number(default.value, study.metrics[0])}"
    return f"The recipe's own configuration (trial 0) was {default.state} after {spent}{so_far}."


def state(study: StudyRecord) -> tuple[str, str]:
    """Return the chip beside the name: its CSS class, and what it says."""
    ended = sum(trial.state not in ("waiting", "running") for trial in study.trials)
    if ended >= study.planned:
        return "good", f"{ended} trials"
    return "plain", f"{ended} of {study.planned} trials"


def facts(study: StudyRecord) -> list[Fact]:
    """Return what describes the study; what is not known is left out."""
    counts = Counter(trial.state for trial in study.trials)
    spent, whole = sum(trial.epochs for trial in study.trials), whole_epochs(study)
    seconds = sum(trial.seconds for trial in study.trials)
    others = [
        f"{counts[name]} {name}"
        for name in ("pruned", "failed", "running", "waiting")
        if counts[name]
    ]
    saved = ""
    if whole:
        saved = f"{spent / whole:.0%} of the {whole:,.4g} that every trial in full would take"
    parameters = {path for trial in study.trials for path in trial.params}
    described = [
        Fact("Trials", f"{counts['complete']} complete", ", ".join(others)),
        Fact("Epochs spent", f"{spent:,.4g}", saved),
        Fact("Time of all trials", words.duration(seconds), ""),
        Fact("Search", study.sampler, f"seed {study.seed}"),
        Fact("Stopping", study.scheduler, f"a whole trial is {study.fidelity:g} {study.unit}"),
        Fact("Space", study.space, f"{len(parameters)} parameters"),
        Fact("Metric", *_metrics(study)),
        Fact("Study run", (study.study_run_id or "")[:12], "in MLflow"),
    ]
    return [fact for fact in described if fact.value]


def whole_epochs(study: StudyRecord) -> float | None:
    """Return the epochs if every started trial had its full budget, or None if not known."""
    started = sum(trial.state != "waiting" for trial in study.trials)
    if study.unit == "epochs":
        return study.fidelity * started
    complete = [trial.epochs for trial in study.trials if trial.state == "complete"]
    return median(complete) * started if complete else None


def changes(study: StudyRecord, importances: Mapping[str, float]) -> list[dict[str, str]]:
    """Return the parameters that the best trial changes, the most important first."""
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
    """Return the recipe's value: a dash where it has none, as for another objective's."""
    if study.default is not None and path in study.default.params:
        return study.default.params[path]
    value: Any = study.recipe
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return "–"
        value = value[key]
    return value


def trust(taus: Mapping[str, float | None]) -> list[dict[str, str]]:
    """Return how far each metric without labels ranked the trials as kNN does, the best first."""
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
        return (
            f"Too few trials have both {name} and kNN, or all have the same value: "
            "nothing can be meaning."
        )
    measured = f"(tau {_signed(tau)})"
    if tau >= AGREES:
        meaning = f"ranked the trials like kNN {measured}; use it when labels are gone."
    elif tau >= ROUGHLY:
        meaning = (
            f"agreed with kNN roughly {measured}: it drops bad trials, but does not pick the best."
        )
    elif tau > -ROUGHLY:
        meaning = f"said little about kNN {measured}; do not choose by it."
    else:
        meaning = (
            f"ranked the trials against kNN {measured}; choosing by it would choose bad encoders."
        )
    return f"On your data, {name} {meaning}"


def few_compared(study: StudyRecord) -> str:
    """Return a caution about taus of a handful of trials, or nothing where they are more."""
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
    """Return the first metric's title, and which way it and the others are better."""
    better = {"max": "more is better", "min": "less is better"}
    first, *others = [
        (words.title(metric), better[mode])
        for metric, mode in zip(study.metrics, study.modes, strict=True)
    ]
    return first[0], "; ".join([first[1], *(f"{title}: {mode}" for title, mode in others)])
