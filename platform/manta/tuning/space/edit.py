"""Values set in an experiment by their dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from manta.config import Experiment, from_mapping
from manta.config.named import field_default, model_at, rename
from manta.errors import ConfigError

ABSENT = object()
"""What `lookup` returns where there is nothing."""


def edited(recipe: Experiment, values: Mapping[str, Any]) -> Experiment:
    """Return the recipe with each path set to its value, validated once.

    Raises:
        ConfigError: a path leads nowhere, or the config refuses a value.
    """
    tree = recipe.model_dump(mode="json")
    # A section before what is in it, and its name first, since a new name brings its own fields.
    for path in sorted(values, key=lambda path: (path.count("."), not path.endswith(".name"))):
        _put(tree, path, deepcopy(values[path]))
    return from_mapping(tree)


def lookup(tree: Mapping[str, Any], path: str) -> Any:
    """Return what a dumped experiment holds at `path`, or `ABSENT`."""
    value: Any = tree
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path; another name brings its own defaults (`manta.config.named`)."""
    *above, key = path.split(".")
    section: Any = tree
    for depth, part in enumerate(above):
        prefix = ".".join(above[: depth + 1])
        if part not in section:
            section[part] = _default(tree, above[:depth], part, prefix)
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(_not_a_section(path, prefix, section))
    if key == "name":
        if not isinstance(value, str):
            raise ConfigError(f"{path}: must be a name, not {value!r}")
        rename(tree, above, value)
    section[key] = value


def _default(tree: dict[str, Any], above: list[str], key: str, prefix: str) -> Any:
    """Return the default of a field that a new name has, and that is not written out."""
    model = model_at(tree, above)
    field = None if model is None else model.model_fields.get(key)
    if field is None:
        raise ConfigError(f"{prefix}: no such key")
    return field_default(field)


def _not_a_section(path: str, prefix: str, value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            f"{path}: {prefix} is the plain number {value:g}, which has no keys; "
            f"make it a schedule in the recipe, or search {prefix} itself"
        )
    return f"{path}: {prefix} is {value!r}, which has no keys; search {prefix} itself"
