"""Tables of a study for the command line."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from manta.failures import TRACE
from manta.report.parts import words
from manta.report.study.record import StudyRecord, TrialRecord

_STYLES = {
    "complete": "green",
    "pruned": "dim",
    "failed": "red",
    "running": "cyan",
    "waiting": "dim",
}
_BAR = 24


def study_table(record: StudyRecord) -> Table:
    """Return one row for each trial; the best is marked, the recipe's own is named."""
    names = words.short_paths(path for trial in record.trials for path in trial.params)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("trial", "state", *record.metrics, "epochs", "time"):
        table.add_column(
            title, justify="left" if title in ("trial", "state") else "right", no_wrap=True
        )
    table.add_column("parameters", overflow="fold")
    best = record.best
    for trial in record.trials:
        is_best = best is not None and trial.number == best.number
        marks = " ★" * is_best + " recipe" * trial.default
        table.add_row(
            f"{trial.number}{marks}",
            Text(trial.state, style=_STYLES[trial.state]),
            *_values(record, trial),
            f"{trial.epochs:.4g}",
            words.duration(trial.seconds),
            Text(
                " ".join(
                    f"{names[path]}={words.setting(value)}" for path, value in trial.params.items()
                )
            ),
            style="bold" if is_best else None,
        )
    return table


def failure_lines(record: StudyRecord) -> list[str]:
    """Return a line for each reason why trials failed; of several traces it names the first."""
    trials: dict[str, list[TrialRecord]] = {}
    for trial in record.trials:
        if trial.state == "failed":
            cause = (trial.reason or "no reason was recorded").partition(TRACE)[0]
            trials.setdefault(cause, []).append(trial)
    return [f"{_numbers(same)} failed: {same[0].reason or cause}" for cause, same in trials.items()]


def importance_table(importances: Mapping[str, float]) -> Table:
    """Return one row for each parameter, the most important first."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("parameter", overflow="fold")
    table.add_column("importance", justify="right")
    table.add_column()
    for path, share in sorted(importances.items(), key=lambda item: -item[1]):
        table.add_row(Text(path), f"{share:.0%}", Text("█" * round(_BAR * share), style="cyan"))
    return table


def _numbers(trials: list[TrialRecord]) -> str:
    """Return "trial 1" or "trials 1, 2, 5"."""
    numbers = ", ".join(str(trial.number) for trial in trials)
    return f"trial{'s' * (len(trials) > 1)} {numbers}"


def _values(record: StudyRecord, trial: TrialRecord) -> list[str]:
    first, *others = record.metrics
    return [
        words.number(trial.value, first),
        *(words.number(trial.values.get(name), name) for name in others),
    ]
