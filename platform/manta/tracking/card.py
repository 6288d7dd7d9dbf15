"""Model cards: what a model was made from and how, what it can do, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manta.config import Experiment
from manta.evaluators import UNTRAINED, describe_metric
from manta.objectives import OBJECTIVES, Paper
from manta.secrets import without_secrets


def model_card(
    experiment: Experiment, run: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> str:
    """Return a model's card in Markdown.

    Args:
        run: the run's `run.json`; what it does not say is left out.
        evaluation: its `evaluation.json`; empty if it was never evaluated.
    """
    sections = [
        f"# {run['name']}: {experiment.encoder.name} by {experiment.objective.name}",
        "An image encoder that was pretrained without labels: uint8 images `[N, H, W, 3]` of any "
        "size in, float32 features `[N, D]` out. Its preprocessing is inside: the central square, "
        "resized to "
        f"{experiment.data.image_size} px and normalised.",
        _table(("", ""), _facts(experiment, run)),
        "## Measured",
        *_measured(evaluation),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(experiment, evaluation)),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(experiment: Experiment, run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    paper: Paper | None = getattr(OBJECTIVES[experiment.objective.name], "paper", None)
    source = f": {paper.title} ({paper.year}), {paper.reference}" if paper else ", unpublished"
    train, encoder = experiment.train, experiment.encoder
    start = "timm's pretrained weights" if encoder.pretrained else "random weights"
    rows = f"{run['rows']:,} images" if "rows" in run else ""
    digest = f"digest `{run['digest']}`" if "digest" in run else ""
    steps = f"{run['steps']:,} steps" if "steps" in run else ""
    parameters = f"{run['parameters']:,} parameters" if "parameters" in run else ""
    yield "Objective", f"{experiment.objective.name}{source}"
    yield "Encoder", _joined(encoder.name, parameters, f"from {start}")
    yield "Data", _joined(without_secrets(experiment.data.source), rows, digest)
    yield (
        "Budget",
        _joined(
            f"{train.epochs:g} epochs",
            steps,
            f"batches of {train.batch_size}",
            f"seed {train.seed}",
        ),
    )
    yield "Run", _joined(f"`{run['run_id']}`", str(run.get("created", "")))
    if run.get("git_commit"):
        yield "Code", f"`{run['git_commit']}`"


def _measured(evaluation: Mapping[str, Any]) -> Iterator[str]:
    metrics: Mapping[str, float] = evaluation.get("metrics", {})
    if not metrics:
        yield "Nothing was measured in the run."
        return
    yield (
        f"On {evaluation['query_rows']:,} images held out of training; probes learned from "
        f"{evaluation['bank_rows']:,} training images. Accuracies are fractions of 1."
    )
    settings: Mapping[str, Any] = evaluation.get("settings", {})
    trained = [name for name in metrics if not name.startswith(UNTRAINED)]
    rows = [
        (
            f"`{name}`",
            _number(metrics[name]),
            _number(metrics.get(UNTRAINED + name)),
            describe_metric(name).about.title,
            describe_metric(name).about.direction,
        )
        for name in trained
    ]
    yield _table(("metric", "trained", "untrained", "what it is", ""), rows)
    yield "Settings of the evaluators:"
    yield "\n".join(f"- {name}: {_settings(values)}" for name, values in settings.items())


def _limits(experiment: Experiment, evaluation: Mapping[str, Any]) -> Iterator[str]:
    size = experiment.data.image_size
    yield f"Trained on images of {size} px: larger ones are shrunk to it, and finer detail is lost."
    if evaluation.get("metrics"):
        yield (
            "Measured on images of the training source, by one run of one seed; `manta evaluate` "
            "tries other data."
        )
    if not evaluation.get("labelled", True):
        yield "The data have no labels: no accuracy is known."
    yield (
        "Pretrained without labels: a task needs a probe or fine-tuning, and its own evaluation, "
        "before use."
    )
    yield "Manta knows neither the licence of the data nor whom or what they leave out."


def _settings(values: Mapping[str, Any]) -> str:
    return (
        _joined(
            *(f"{key} {value}" for key, value in values.items() if key not in ("name", "every"))
        )
        or "defaults"
    )


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
