"""Model cards: a model's data and training, its metrics, and its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from manta.config import Experiment
from manta.evaluators import BESIDE, FLOOR, UNTRAINED, Metric, describe_metric, lost_to_floor
from manta.modalities import Noun, noun_of
from manta.objectives import OBJECTIVES
from manta.secrets import without_secrets

_TEMPLATE = "card.md.j2"
_NOT_SETTINGS = ("name", "every")
"""Fields of an evaluator that do not change its numbers."""


def model_card(
    experiment: Experiment, run: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> str:
    """Return a model's card in Markdown.

    Args:
        run: the run's `run.json`; missing facts are left out of the card.
        evaluation: the run's `evaluation.json`; empty if it was never evaluated.
    """
    objective = experiment.objective.name
    metrics: Mapping[str, float] = evaluation.get("metrics", {})
    modality = experiment.modality(run.get("stats"))
    preprocess = modality.preprocess(experiment.views)
    template = _environment().get_template(_TEMPLATE)
    return template.render(
        run={"created": None, "git_commit": None, "start": None, **run},
        encoder=experiment.encoder,
        objective=objective,
        paper=getattr(OBJECTIVES[objective], "paper", None),
        train=experiment.train,
        noun=noun_of(modality.name),
        taken=preprocess.signature,
        reader=preprocess.reader(),
        image_size=modality.spec.side if modality.name == "image" else None,
        spec=modality.spec,
        source=_plain(without_secrets(experiment.data.source)),
        evaluation=evaluation,
        labelled=evaluation.get("labelled", True),
        metrics=[
            (
                name,
                value,
                metrics.get(UNTRAINED + name),
                metrics.get(FLOOR + name),
                _about(name, noun_of(modality.name)),
            )
            for name, value in metrics.items()
            if not name.startswith(BESIDE)
        ],
        floor=_floor_of(evaluation),
        lost=lost_to_floor(metrics),
        evaluators=[
            (name, [item for item in settings.items() if item[0] not in _NOT_SETTINGS])
            for name, settings in evaluation.get("settings", {}).items()
        ],
    )


def _floor_of(evaluation: Mapping[str, Any]) -> str:
    """Return what the floor's features are; empty where there are no numbers of them."""
    has_floor = any(name.startswith(FLOOR) for name in evaluation.get("metrics", {}))
    return str(evaluation.get("floor") or "features") if has_floor else ""


def _about(metric: str, noun: Noun) -> Metric:
    """Return a metric's declaration in the words of the data's samples."""
    about = describe_metric(metric).about
    return replace(about, title=noun.said(about.title))


def _plain(text: str) -> str:
    """Return a text in which no letter is markup, or ends a table's cell."""
    return re.sub(r"([\\`\[\]<>|$])", r"\\\1", text)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("manta.tracking", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    environment.filters |= {"axes": _axes, "count": "{:,}".format, "number": _number}
    return environment


def _axes(shape: Sequence[int]) -> str:
    """Return a shape in letters where any length will do: `[N, T, 3]`."""
    free = iter("NTUVW")
    return ", ".join(next(free) if side < 0 else str(side) for side in shape)


def _number(value: float | None, form: str = ".4g") -> str:
    return "" if value is None else format(value, form)
