"""Facts about what can be named in a configuration, as plain data.

`manta describe` prints them, and the configuration reference of the documentation is made of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from manta.config.fields import field_rows
from manta.config.named import part_of
from manta.config.sections import Experiment
from manta.encoders import RunEncoderConfig
from manta.errors import ConfigError, did_you_mean
from manta.evaluators import EVALUATORS
from manta.modalities import MODALITIES
from manta.modalities.image.views import PRESETS, ImageViewsConfig, ViewSpec
from manta.objectives import OBJECTIVES
from manta.schedules import SCHEDULES

TRAIN = "manta train RECIPE"
"""How the examples begin."""


def describe(kind: str, name: str) -> dict[str, Any]:
    """Return what is known about a component or a section of an experiment.

    Args:
        kind: objective, encoder, evaluator, modality, schedule, section or view.
        name: as it is written in a recipe; of a view, the preset's.

    Returns:
        A mapping with at least `kind`, `name`, `about` (a paragraph), `text` (all that the source
        says), `fields` (see `field_rows`) and `example` (a line for a shell). JSON-able.

    Raises:
        ConfigError: there is no such kind or name.
    """
    facts = _choose(_FACTS, kind, "kind to describe")(name)
    return {"kind": kind, "name": name, **facts}


def describable(kind: str) -> list[dict[str, str]]:
    """Return the names of a kind that `describe` takes, each with `about` in one paragraph.

    Raises:
        ConfigError: there is no such kind.
    """
    listed = _choose(_NAMES, kind, "kind to describe")
    return [{"name": name, "about": about} for name, about in listed()]


def paragraph(component: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(component) or "").partition("\n\n")[0].split())


def _objective(name: str) -> dict[str, Any]:
    kind = OBJECTIVES[name]
    rows = field_rows(kind.Config, "objective", {"name": name})
    paper = getattr(kind, "paper", None)  # a user's own method may come from none
    return {
        "about": paragraph(kind),
        "text": _text(kind),
        "paper": None if paper is None else asdict(paper),
        "family": getattr(kind, "family", None),
        "views": kind.views,
        "keeps": list(kind.keeps),
        "labels": kind.labels,
        "fields": rows,
        "example": f"{TRAIN} objective={name}{_example(rows)}",
    }


def _encoder(name: str) -> dict[str, Any]:
    from manta.encoders import ENCODERS, names

    registered = name in ENCODERS
    if not registered and name not in (every := list(names())):
        raise ConfigError(f"no encoder is named {name!r}{did_you_mean(name, every)}")
    rows = field_rows(RunEncoderConfig, "encoder", {"name": name})
    about, text = f"The model {name} of timm.", "Its arguments are those of timm.create_model."
    if registered:
        factory = ENCODERS[name]
        about, text = paragraph(factory), _text(factory)
        rows += _argument_rows(factory)
    return {
        "about": about,
        "text": text,
        "fields": rows,
        "example": f"{TRAIN} encoder={name}{_example(rows)}",
    }


def _argument_rows(factory: Callable[..., Any]) -> list[dict[str, Any]]:
    """Return the settings below `encoder.args` of a registered encoder.

    Its module declares them, if at all, as a pydantic model whose name ends in `Args`.
    """
    module = vars(sys.modules[factory.__module__])
    models = [
        one
        for one in module.values()
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__name__.endswith("Args")
    ]
    return [row for model in models for row in field_rows(model, "encoder.args")]


def _evaluator(name: str) -> dict[str, Any]:
    kind = EVALUATORS[name]
    prefix = f"evaluation.evaluators.{name}"
    rows = field_rows(kind.Config, prefix, {"name": name})
    return {
        "about": paragraph(kind),
        "text": _text(kind),
        "needs_labels": kind.needs_labels,
        "fields": rows,
        "example": f"{TRAIN}{_example(rows) or f' {prefix}={{}}'}",
    }


def _schedule(name: str) -> dict[str, Any]:
    kind = _choose(SCHEDULES, name, "schedule")
    rows = field_rows(kind, "optimizer.schedule", {"name": name})
    return {
        "about": paragraph(kind),
        "text": _text(kind),
        "fields": rows,
        "example": f"{TRAIN} optimizer.schedule={name}{_example(rows)}",
    }


def describe_section(name: str, model: type[BaseModel], command: str = TRAIN) -> dict[str, Any]:
    """Return what `describe` does of a section, for a model that is no part of an experiment."""
    rows = field_rows(model, name)
    return {
        "kind": "section",
        "name": name,
        "about": paragraph(model),
        "text": inspect.getdoc(model) or "",
        "fields": rows,
        "example": f"{command}{_example(rows)}",
    }


def _modality(name: str) -> dict[str, Any]:
    kind = MODALITIES[name]
    rows = field_rows(kind.Config, "data", {"modality": name})
    return {
        "about": paragraph(kind),
        "text": _text(kind),
        "noun": kind.noun,
        "suffixes": list(kind.suffixes),
        "fields": rows,
        "example": f"{TRAIN} data.modality={name} data.source=./{kind.noun}",
    }


def _section(name: str) -> dict[str, Any]:
    return describe_section(name, _choose(_sections(), name, "section"))


def _view(name: str) -> dict[str, Any]:
    preset = _choose(PRESETS, name, "preset of views")
    return {
        "about": preset.about,
        "text": preset.about,
        "views": [_spec(view) for view in preset.views],
        "local": _spec(preset.local),
        "fields": field_rows(ImageViewsConfig, "views", {"preset": name}),
        "example": f"{TRAIN} views.preset={name} views.strength=0.5",
    }


def _spec(view: ViewSpec) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(view).items()
    }


def _sections() -> dict[str, type[BaseModel]]:
    """Return the sections of an experiment; an objective's settings are its own."""
    parts = {name: part_of(field) for name, field in Experiment.model_fields.items()}
    models = {name: part.usual for name, part in parts.items() if part is not None}
    return {name: model for name, model in models.items() if model is not None}


def _named(components: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, paragraph(component)) for name, component in components]


def _encoder_names() -> list[tuple[str, str]]:
    from manta.encoders import names

    return [(name, "") for name in names()]


_FACTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "objective": _objective,
    "encoder": _encoder,
    "evaluator": _evaluator,
    "modality": _modality,
    "schedule": _schedule,
    "section": _section,
    "view": _view,
}
_NAMES: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "objective": lambda: _named(OBJECTIVES.items()),
    "encoder": _encoder_names,
    "evaluator": lambda: _named(EVALUATORS.items()),
    "modality": lambda: _named(MODALITIES.items()),
    "schedule": lambda: _named(SCHEDULES.items()),
    "section": lambda: _named(_sections().items()),
    "view": lambda: [(name, preset.about) for name, preset in PRESETS.items()],
}
KINDS = tuple(_FACTS)
"""What `describe` knows kinds of."""


def _choose(choices: Any, name: str, noun: str) -> Any:
    if name not in choices:
        raise ConfigError(f"no {noun} is named {name!r}{did_you_mean(name, choices)}")
    return choices[name]


def _text(component: Any) -> str:
    """Return the docstrings of a component and of its module, where its paper is discussed."""
    module = inspect.getdoc(sys.modules[component.__module__]) or ""
    return "\n\n".join(part for part in (inspect.getdoc(component), module) if part)


def _example(rows: Iterable[dict[str, Any]]) -> str:
    """Return an override that sets a plain value to what it is anyway, to be changed."""
    for row in rows:
        last, value = row["key"].rpartition(".")[2], row["default"]
        if last != "name" and isinstance(value, (int, float, str)) and value != "":
            return f" {row['key']}={str(value).lower() if isinstance(value, bool) else value}"
    return ""
