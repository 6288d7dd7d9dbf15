"""Printing of the commands: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manta.failures import described, innermost, keep_trace, whole_trace
from manta.modalities import noun_of

if TYPE_CHECKING:
    from manta.doctor import Check

# Without emoji: `:x:` in a path is no cross.
console = Console(stderr=True, emoji=False)
out = Console(emoji=False)
_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "bad": "[red]bad[/]"}


def line(message: str, *, style: str = "", end: str = "\n") -> None:
    """Print a text on standard output as it is: paths in it are no markup, and are not broken."""
    out.print(Text(message, style), end=end, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print one stage of a long command as it is, with the time of day."""
    stage = Text.assemble((time.strftime("%H:%M:%S"), "dim"), " ", message)
    console.print(stage, highlight=False, soft_wrap=True)


def print_error(error: Exception) -> None:
    """Print an error on one line; the traceback of a task goes to a file that the line names."""
    text = re.sub(r"\s*\n\s*", " ", str(error).strip())
    trace = getattr(error, "trace", None)
    kept = keep_trace(trace) if trace else None
    whole = f" (whole traceback: {kept})" if kept else ""
    _print_failure("error", f"{text}{whole}")


def print_unexpected(error: BaseException) -> None:
    """Print an error that nobody foresaw on one line, which names a file with its traceback."""
    trace = whole_trace(error)
    kept = keep_trace(trace)
    where = f"the whole traceback is in {kept}" if kept else "no folder takes its traceback"
    _print_failure("unexpected", f"{described(innermost(error), trace)}; {where}")


def _print_failure(kind: str, text: str) -> None:
    console.print(Text.assemble((f"{kind}:", "bold red"), " ", text), soft_wrap=True)


NARROW = 60
"""Columns below which a terminal has no room for what only explains."""
SHOWN = {"objectives": ("name", "family", "views", "keeps", "paper")}
"""Columns that a terminal has room for; `--json` gives all."""


def print_components(kind: str, rows: list[dict[str, Any]]) -> None:
    """Print what `manta.catalogue.entries` returns as a table."""
    if not rows:
        out.print(f"no {kind} found here")
        return
    shown = SHOWN.get(kind, tuple(rows[0]))
    table = Table(*shown, box=None, header_style="bold")
    for row in rows:
        values = (row[key] for key in shown)
        table.add_row(
            *(Text(", ".join(map(str, v)) if isinstance(v, list) else str(v or "")) for v in values)
        )
    out.print(table)


def print_checks(checks: Iterable[Check]) -> None:
    """Print the doctor's findings, each with what mends it."""
    table = Table("", "check", "found", "mend", box=None, header_style="bold")
    for check in checks:
        table.add_row(_MARKS[check.status], check.name, Text(check.found), Text(check.mend))
    out.print(table)


def print_metrics(
    metrics: Mapping[str, float],
    note: str = "",
    intervals: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Print trained beside untrained and the floor, 95% intervals, and what it is.

    Columns of which nothing is known are left out. What loses to its floor is said.
    """
    from manta.evaluators import BESIDE, FLOOR, UNTRAINED, describe_metric, lost_to_floor

    columns = ["trained", "95%", "untrained"] if intervals else ["trained", "untrained"]
    has_floor = any(name.startswith(FLOOR) for name in metrics)
    columns += ["floor"] if has_floor else []
    table = Table(box=None, header_style="bold")
    for column in ("", *columns):  # as wide as they are: only the description gives way
        longest = {"": max(map(len, metrics), default=0), "95%": len("0.000-0.000")}
        width = max(longest.get(column, 0), len(column))
        table.add_column(column, no_wrap=True, min_width=width)
    # Cut, not wrapped, where the terminal is narrow, and then left out: the number counts.
    has_room = out.width >= NARROW
    if has_room:
        table.add_column(overflow="ellipsis", no_wrap=True, style="dim")
    for name, value in metrics.items():
        if not name.startswith(BESIDE):
            others = [metrics.get(f"{prefix}{name}") for prefix in (UNTRAINED, FLOOR)]
            between = [_between(intervals.get(name))] if intervals else []
            beside = ["" if other is None else f"{other:.4g}" for other in others]
            title = describe_metric(name).about.title
            cells = [name, f"{value:.4g}", *between, *beside[: 1 + has_floor]]
            table.add_row(*cells, *([title] if has_room else []))
    out.print(table)
    for name in lost_to_floor(metrics):
        floor = metrics[f"{FLOOR}{name}"]
        line(
            f"{name} loses to its floor: {metrics[name]:.4g} against {floor:.4g} of features "
            "that nothing has learned"
        )
    if note:
        line(note, style="dim")


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print models side by side, and what each gains over the first."""
    models = comparison["models"]
    table = Table("", box=None, header_style="bold")
    for model in models:
        table.add_column(Text(model))
    for name in comparison["metrics"][models[0]]:
        table.add_row(name, *(_with_interval(comparison, model, name) for model in models))
    out.print(table)
    for model, gains in comparison["gains"].items():
        for name, gain in gains.items():
            bounds = f"[{gain['low']:+.4f}, {gain['high']:+.4f}]"
            change = f"{gain['gain']:+.4f} {bounds}, {_conclusion(name, gain)}"
            line(f"{model} against {models[0]}: {name} {change}")
    rows = f"{comparison['query_rows']:,} queries, {comparison['bank_rows']:,} rows to learn from"
    out.print(f"[dim]the same {rows}; 95% intervals, paired[/]", highlight=False)
    if scored := comparison.get("scored"):
        line(scored, style="dim")


def _conclusion(metric: str, gain: Mapping[str, float]) -> str:
    """Return whether a gain is surely one, by the direction that the metric declares."""
    from manta.evaluators import describe_metric

    better = describe_metric(metric).about.better
    if gain["low"] <= 0 <= gain["high"]:
        return "may be chance" if f"{abs(gain['gain']):.4f}" != "0.0000" else "no difference"
    if better not in ("higher", "lower"):
        return "different"
    return "better" if (gain["low"] > 0) == (better == "higher") else "worse"


def _with_interval(comparison: Mapping[str, Any], model: str, name: str) -> str:
    value = comparison["metrics"][model].get(name)
    between = _between(comparison["intervals"][model].get(name))
    return "" if value is None else f"{value:.4g} {between}".rstrip()


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"[dim]{interval[0]:.3f}-{interval[1]:.3f}[/]"


def print_result(result: Mapping[str, Any]) -> None:
    """Print a run's summary: its metrics, and where its model and its report are."""
    print_metrics(result["metrics"])
    rate, noun = result["images_per_second"], noun_of(result.get("modality")).plural
    print_rows(
        {
            "checkpoint": result["checkpoint"],
            "model": result["model_uri"],
            "report": result["report"],
            f"{noun}/s": f"{rate:.0f}" if rate else None,
        }
    )
    if pending := result.get("metrics_pending"):
        kept = f"{result['report'].rpartition('/')[0]}/metrics.jsonl"
        line(f"{pending} metric points did not reach the tracking server; they are kept in {kept}")


def print_rows(rows: dict[str, str | None]) -> None:
    """Print a name and a value on each line; what is missing is left out."""
    for key, value in rows.items():
        if value:
            line(f"{key:<11} {value}")


def print_lines(lines: Iterable[str]) -> None:
    """Print plain lines, whatever letters they hold."""
    for one in lines:
        line(one)


def print_study(record: Any, summary: Mapping[str, Any]) -> None:
    """Print a study's trials, what mattered, and what to trust without labels."""
    from manta.tuning.figures.console import failure_lines, importance_table, study_table

    out.print(study_table(record))
    print_lines(failure_lines(record))
    if summary["importances"]:
        out.print(importance_table(summary["importances"]))
    for name, tau in summary["kendall"].items():
        value = "not known from these trials" if tau is None else f"{tau:.2f}"
        line(f"Kendall's tau of {name} with knn_top1 over whole trials: {value}")
