"""Tables of a study for the command line."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

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
    reasons = any(trial.state == "failed" for trial in record.trials)
    if reasons:
        table.add_column("reason", overflow="fold")
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
            *([Text((trial.reason or "") if trial.state == "failed" else "")] if reasons else []),
            style="bold" if is_best else None,
        )
    return table


def importance_table(importances: Mapping[str, float]) -> Table:
    """Return one row for each parameter, the most important first."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("parameter", overflow="fold")
    table.add_column("importance", justify="right")
    table.add_column()
    for path, share in sorted(importances.items(), key=lambda item: -item[1]):
        table.add_row(Text(path), f"{share:.0%}", Text("█" * round(_BAR * share), style="cyan"))
    return table


def _values(record: StudyRecord, trial: TrialRecord) -> list[str]:
    first, *others = record.metrics
    return [
        words.number(trial.value, first),
        *(words.number(trial.values.get(name), name) for name in others),
    ]
