"""Words and numbers of a run's page: what was run, what came out, what is missing and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from manta.evaluators import describe_evaluator
from manta.report.parts import words
from manta.report.parts.facts import Fact
from manta.report.parts.floor import floor_words
from manta.report.run.record import RunRecord
from manta.secrets import without_secrets


@dataclass(frozen=True, slots=True)
class Headline:
    """Number to remember of a run.

    Attributes:
        bar: for fractions, the ends of the change in percent of a bar's length.
    """

    title: str
    trained: str
    untrained: str
    change: str
    better: bool
    bar: tuple[float, float] | None


def headline(run: RunRecord) -> Headline | None:
    """Return the metric by which the run selects, or else the most telling one."""
    numbers = _numbers(run)
    selected = run.setting("evaluation.select")
    own = [name for name in numbers if not name.startswith(words.BESIDE)]
    metric = selected if selected in own else words.most_telling(own)
    if metric is None:
        return None
    trained, untrained = numbers[metric], numbers.get(f"{words.UNTRAINED}{metric}")
    bar = None
    if words.is_fraction(metric) and untrained is not None:
        bar = (100 * min(trained, untrained), 100 * max(trained, untrained))
    return Headline(
        title=run.noun.said(words.title(metric)),
        trained=words.number(trained, metric),
        untrained="" if untrained is None else words.number(untrained, metric),
        change=words.change(trained, untrained, metric),
        better=_is_better(metric, trained, untrained),
        bar=bar,
    )


def callout(run: RunRecord) -> dict[str, str] | None:
    """Return what went wrong, in plain words; None for a run that finished or is under way."""
    status = str(run.run.get("status", "")).lower()
    diagnosis = str(run.run.get("diagnosis") or "")
    if not run.run:
        return {
            "title": "run.json is missing",
            "text": "The run ended before it could write down what it was.",
        }
    if words.STATES.get(status, ("plain", ""))[0] != "bad" and not diagnosis:
        return None
    last = max((int(curve.steps[-1]) for curve in run.curves.values()), default=None)
    where = "before its first logged step" if last is None else f"after step {last:,}"
    meaning = (
        run.noun.said(words.explain(diagnosis))
        or f"`manta train ... --name {run.name} --resume` goes on from its checkpoint."
    )
    verb = {"stopped": "The watch stopped this run", "killed": "This run was killed"}.get(
        status, "This run ended early"
    )
    return {
        "title": f"{verb} {where}" + (f": {diagnosis.replace('_', ' ')}" if diagnosis else ""),
        "text": meaning,
    }


def facts(run: RunRecord) -> list[Fact]:
    """Return what describes the run; what is not known is left out."""
    setting, stated = run.setting, run.run
    rate, wait = _middle(run, "images_per_second"), _middle(run, "input_wait_fraction")
    source = without_secrets(_word(setting("data.source") or stated.get("dataset")))
    created, commit = _word(stated.get("created")), _word(stated.get("git_commit"))
    rows = stated.get("rows")
    known = [
        Fact(
            "Objective",
            _word(setting("objective.name")),
            _temperature(setting("objective.temperature")),
        ),
        Fact(
            "Encoder", _word(setting("encoder.name")), _with(stated.get("parameters"), "parameters")
        ),
        Fact("Start", *_start(stated.get("start"))),
        Fact(
            "Data",
            _tail(source),
            _joined(_with(rows, run.noun.plural), _word(stated.get("digest"))[:12]),
        ),
        Fact("Training", _epochs(setting("train.epochs")), _steps(run)),
        Fact("Wall time", words.duration(run.seconds), created[:16].replace("T", " ")),
        Fact(
            "Throughput",
            "" if rate is None else f"{words.number(rate)} {run.noun.plural}/s",
            "" if wait is None else f"{wait:.0%} of the time waiting for input",
        ),
        Fact("Precision", _word(setting("train.precision")), f"seed {setting('train.seed')}"),
        Fact("Run", _word(stated.get("run_id"))[:12], f"commit {commit[:10]}" if commit else ""),
    ]
    return [fact for fact in known if fact.value]


def results(run: RunRecord) -> list[dict[str, Any]]:
    """Return one group per evaluator: its metrics, and the settings they were measured with."""
    numbers = _numbers(run)
    settings: dict[str, Any] = run.evaluation.get("settings") or {}
    groups: dict[str, list[dict[str, str | bool]]] = {}
    for metric, value in numbers.items():
        if metric.startswith(words.BESIDE):
            continue
        untrained = numbers.get(f"{words.UNTRAINED}{metric}")
        described = words.about(metric)
        row: dict[str, str | bool] = {
            "title": run.noun.said(words.title(metric)),
            "note": run.noun.said(described.about.note),
            "trained": words.number(value, metric),
            "untrained": words.number(untrained, metric),
            "floor": words.number(numbers.get(f"{words.FLOOR}{metric}"), metric),
            "change": words.change(value, untrained, metric),
            "better": described.about.kind == "fraction" and _is_better(metric, value, untrained),
        }
        groups.setdefault(_evaluator(metric, settings), []).append(row)
    return [
        {"evaluator": name, "rows": rows, "settings": _settings(settings.get(name))}
        for name, rows in groups.items()
    ]


def floor(run: RunRecord) -> dict[str, str] | None:
    """Return what the page says of the floor; None where there is none."""
    return floor_words(_numbers(run), str(run.evaluation.get("floor") or ""), run.noun)


def _start(start: Any) -> tuple[str, str]:
    """Return the model that a run started from, and how much of it fitted; empty without one."""
    if not isinstance(start, dict):
        return "", ""
    total = start["fitted"] + len(start["unfitted"])
    return _tail(start["model"]), f"{start['fitted']} of {total} tensors"


def _is_better(metric: str, trained: float, untrained: float | None) -> bool:
    """Return whether training moved a metric the way that its declaration calls better."""
    if untrained is None:
        return False
    lower = words.about(metric).about.better == "lower"
    return trained < untrained if lower else trained > untrained


def measured_on(run: RunRecord) -> str:
    """Return a sentence on which samples the final numbers come from."""
    queries, bank, step = (run.evaluation.get(key) for key in ("query_rows", "bank_rows", "step"))
    noun = run.noun.plural
    parts = [
        f"Measured on {queries:,} {noun} held out of training" if isinstance(queries, int) else "",
        f"with {bank:,} training {noun} as the bank of the probes" if isinstance(bank, int) else "",
        f"after step {step:,}" if isinstance(step, int) else "",
        str(run.evaluation.get("labels") or ""),
    ]
    text = ", ".join(filter(None, parts))
    return (
        text[:1].upper() + text[1:] + "."
        if text
        else "Last values measured during training."
        if _numbers(run)
        else ""
    )


def why_missing(run: RunRecord) -> dict[str, str]:
    """Return for each section of the page why it may be empty."""
    status = str(run.run.get("status", "")).lower()
    ended = (
        "this run ended before that"
        if status in words.STATES and status != "running"
        else "not yet here"
    )
    ended = ended if status != "finished" else "this run wrote none"
    labels = run.evaluation and not run.evaluation.get("labelled", True)
    skipped = {
        describe_evaluator(str(name))[0]: str(why)
        for name, why in (run.evaluation.get("skipped") or {}).items()
        if not (labels and why == "needs labels")
    }
    return {
        "numbers": "; ".join(f"{title}: {why}" for title, why in skipped.items()),
        "evaluation": f"evaluation.json is written after the last step; {ended}.",
        "labels": "The data have no labels, so accuracies cannot be measured: rank and spread "
        "tell whether the features are healthy."
        if labels
        else "",
        "curves": f"metrics.jsonl holds no numbers; {ended}.",
        "samples": f"artifacts/samples.npz is written at the end, from held-out "
        f"{run.noun.plural}; {ended}.",
        "views": f"artifacts/views.npz is written at the start of training; {ended}.",
        "model": f"A model is registered at the end of a run; {ended}, or tracking.register_model "
        "is off.",
        "config": "experiment.yaml is missing or cannot be read.",
    }


def _numbers(run: RunRecord) -> dict[str, float]:
    """Return the final evaluation; without one, the last values measured during training."""
    stated = run.evaluation.get("metrics")
    if stated:
        return {
            name: float(value) for name, value in stated.items() if isinstance(value, int | float)
        }
    measured = {
        name
        for name in run.curves
        if words.about(name).declared or (words.is_fraction(name) and name not in words.LOGGED)
    }
    return {name: float(run.curves[name].values[-1]) for name in sorted(measured)}


def _evaluator(metric: str, settings: dict[str, Any]) -> str:
    """Return the evaluator that gives a metric.

    Of an undeclared metric, such as one of a package that is not installed here, the evaluator of
    the run with whose name it begins.
    """
    described = words.about(metric)
    if described.declared:
        return described.evaluator
    named = [name for name in settings if metric.startswith(name)]
    return max(named, key=len) if named else described.evaluator or metric.split("_")[0]


def _settings(config: Any) -> str:
    if not isinstance(config, dict):
        return ""
    cadence = config.get("every")
    when = (
        "at the end"
        if cadence is None
        else f"every {_plain(cadence)} epoch{'' if cadence == 1 else 's'} and at the end"
    )
    return ", ".join(
        [*(f"{k} {_plain(v)}" for k, v in config.items() if k not in ("name", "every")), when]
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _middle(run: RunRecord, metric: str) -> float | None:
    """Return a curve's median, which start-up does not move."""
    curve = run.curves.get(metric)
    finite = np.array([]) if curve is None else curve.values[np.isfinite(curve.values)]
    return float(np.median(finite)) if len(finite) else None


def _temperature(value: Any) -> str:
    if isinstance(value, dict):
        return f"temperature by a {value.get('name')} schedule"
    return "" if value is None else f"temperature {value}"


def _epochs(value: Any) -> str:
    return f"{value:g} epoch{'' if value == 1 else 's'}" if isinstance(value, int | float) else ""


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _with(value: Any, unit: str) -> str:
    return f"{words.count(value)} {unit}" if value else ""


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _steps(run: RunRecord) -> str:
    steps, batch = run.run.get("steps"), run.setting("train.batch_size")
    parts = [
        f"{steps:,} steps" if isinstance(steps, int) else "",
        f"of {batch} {run.noun.plural}" if batch else "",
    ]
    return " ".join(filter(None, parts))


def _tail(source: str) -> str:
    """Return the end of a long path, which tells more than its start."""
    return source if len(source) <= 32 else "…/" + source.rstrip("/").rsplit("/", 1)[-1]
