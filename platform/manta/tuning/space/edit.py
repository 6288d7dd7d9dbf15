"""Values set in an experiment by their dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from manta.config import Experiment, from_mapping
from manta.errors import ConfigError
from manta.objectives import OBJECTIVES
from manta.schedules import SCHEDULES

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
    """Set the value at a path; another name drops what belonged to the old component."""
    *above, key = path.split(".")
    section: Any = tree
    for depth, part in enumerate(above, start=1):
        if part not in section:
            raise ConfigError(f"{'.'.join(above[:depth])}: no such key")
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(_not_a_section(path, ".".join(above[:depth]), section))
    if key == "name":
        if not isinstance(value, str):
            raise ConfigError(f"{path}: must be a name, not {value!r}")
        if value != section.get("name"):
            _forget(section, above, value)
    section[key] = value


def _forget(section: dict[str, Any], above: list[str], name: str) -> None:
    """Replace what belonged to the section's old component by the new one's defaults."""
    fresh: Any = None
    if above == ["objective"]:
        fresh = OBJECTIVES[name].Config
    elif len(above) > 1 and section.get("name") in SCHEDULES:
        fresh = SCHEDULES.get(name)
    else:
        # An encoder or an optimizer: `args` were for the old one; the other keys suit any.
        if "args" in section:
            section["args"] = {}
        return
    section.clear()
    if fresh is not None:
        # Not validated yet: a field without a default may be set next.
        section.update(fresh.model_construct(name=name).model_dump(mode="json", warnings=False))


def _not_a_section(path: str, prefix: str, value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            f"{path}: {prefix} is the plain number {value:g}, which has no keys; "
            f"make it a schedule in the recipe, or search {prefix} itself"
        )
    return f"{path}: {prefix} is {value!r}, which has no keys; search {prefix} itself"
