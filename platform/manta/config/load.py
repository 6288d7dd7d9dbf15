"""From a recipe file and overrides to an `Experiment`, with errors of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from manta.config.named import SCHEDULE, find_part
from manta.config.overrides import apply_overrides, parse_overrides
from manta.config.references import resolved, verbatim
from manta.config.sections import Experiment
from manta.config.text import parse_written
from manta.encoders import names_weights
from manta.errors import ConfigError, did_you_mean
from manta.schedules import SCHEDULES

MOST_ERRORS = 3
"""How many mistakes one message names."""
_MOST_SHOWN = 200
"""Letters of a wrong value that a message repeats."""


def load(
    recipe: str | Path | None,
    overrides: Iterable[str] = (),
    *,
    notify: Callable[[str], None] = lambda _note: None,
) -> Experiment:
    """Return the experiment of a recipe file with `a.b=c` overrides on top.

    Args:
        recipe: path of a YAML file; None starts from nothing.
        overrides: see `manta.config.overrides`.
        notify: told, in one line each, which of the recipe's settings were dropped because an
            override names another component, what was added to a list, and that weights which the
            encoder's name stands for are not loaded.

    Raises:
        ConfigError: one line that names the key and what is wrong with it.
    """
    tree = _read(Path(recipe)) if recipe is not None else {}
    merged, notes = apply_overrides(tree, parse_overrides(overrides))
    tree = resolved(merged)
    experiment = from_mapping(tree)
    for note in [*notes, *_unused_weights(tree, experiment)]:
        notify(note)
    return experiment


def changed(experiment: Experiment, overrides: Iterable[str]) -> tuple[Experiment, list[str]]:
    """Return an experiment with overrides on top, and what `load` tells `notify`.

    Raises:
        ConfigError: as `load`.
    """
    tree = verbatim(experiment.model_dump(mode="json"))
    merged, notes = apply_overrides(tree, parse_overrides(overrides))
    tree = resolved(merged)
    experiment = from_mapping(tree)
    return experiment, [*notes, *_unused_weights(tree, experiment)]


def from_mapping(tree: Mapping[str, Any]) -> Experiment:
    """Return the experiment that plain data describe.

    Raises:
        ConfigError: as `load`.
    """
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error, tree)) from None


def _unused_weights(tree: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Return the note that the weights behind the encoder's name are not loaded, if so."""
    section = tree.get("encoder")
    name = section.get("name") if isinstance(section, Mapping) else None
    if experiment.encoder.pretrained or not isinstance(name, str) or not names_weights(name):
        return []
    return [
        f"encoder.name={name}: the architecture, from random weights; encoder.pretrained=true "
        "starts from those that it names"
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = parse_written(path.read_text()) or {}
    except FileNotFoundError:
        raise ConfigError(
            f"no recipe at {path}; `manta list recipes` shows those that ship"
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path} is a folder, and no recipe; `manta list recipes` shows those that ship"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold a mapping of sections, not {type(tree).__name__}")
    return tree


def _one_line(error: ValidationError, tree: Mapping[str, Any]) -> str:
    """Return pydantic's mistakes as one line with Manta's paths and hints."""
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join(_keys_of(item["loc"], tree))
        message = _message(item, tree)
        line = f"{path}: {message}" if path else message
        if line not in lines:
            lines.append(line)
    return "; ".join(lines[:MOST_ERRORS])


def _message(item: Any, tree: Mapping[str, Any]) -> str:
    *section, key = item["loc"] or ("",)
    match item["type"]:
        case "extra_forbidden":
            return f"no such key{did_you_mean(key, _settings_at(section, tree))}"
        case "missing":
            return "is required"
        case "union_tag_invalid":
            name = item["ctx"]["tag"]
            return f"no schedule is named {_short(name)}{did_you_mean(name, SCHEDULES)}"
        case "union_tag_not_found":
            return f"needs a number or a schedule's name; one of {', '.join(SCHEDULES)}"
        case "value_error":
            return str(item["msg"]).removeprefix("Value error, ")
    if item["loc"][:2] == ("data", "source"):
        return str(item["msg"])
    return f"{item['msg']} (got {_short(item['input'])})"


def _short(value: Any) -> str:
    """Return a value as it is written in Python, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _keys_of(location: Iterable[int | str], tree: Mapping[str, Any]) -> list[str]:
    """Return the keys of pydantic's location, without the tags of unions that it puts between."""
    keys: list[str] = []
    for key in location:
        part, _ = find_part(tree, keys)
        is_tag = part is not None and part.kind is SCHEDULE
        if not (is_tag and (key in SCHEDULES or key == "number")):
            keys.append(str(key))
    return keys


def _settings_at(location: Iterable[int | str], tree: Mapping[str, Any]) -> list[str]:
    """Return the keys that the section at a location can have."""
    part, here = find_part(tree, list(location))
    if part is None or part.many:
        return []
    model = part.model_of(here)
    return list(model.model_fields) if model is not None else []
