"""References of a recipe to its own settings: OmegaConf's `${section.key}`.

What is typed as an override is no reference where it is for a text, and nothing is one that names
no section: a path may hold `${x}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from manta.config.sections import Experiment
from manta.config.text import Verbatim
from manta.errors import ConfigError

_OPENING = re.compile(r"\$\{(?=\s*(?P<name>[\w.]*)\s*(?P<end>.?))")
_HELD = "\0{"
"""Stands for an opening `${` that is none, while references are replaced."""


def resolved(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data with references replaced by the values there, and all texts plain.

    Raises:
        ConfigError: a reference leads nowhere.
    """
    held: Any = _texts(tree, _hold)
    if "${" in str(held):
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            held = OmegaConf.to_container(OmegaConf.create(held), resolve=True)
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"overrides cannot be applied: {reason}") from None
    return dict(_texts(held, lambda text: text.replace(_HELD, "${")))


def verbatim(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data with texts that hold no references: those of an `Experiment`."""
    return dict(_texts(tree, lambda text: Verbatim(text) if "${" in text else text))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with every text changed."""
    if isinstance(value, Mapping):
        return {key: _texts(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [_texts(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _hold(text: str) -> str:
    """Return a text in which only what refers to a setting begins with `${`."""
    if isinstance(text, Verbatim):
        return text.replace("${", _HELD)
    return _OPENING.sub(lambda found: "${" if _refers(found) else _HELD, text)


def _refers(opening: re.Match[str]) -> bool:
    """Return whether `${` begins a reference to a section, a key nearby, or a resolver's call."""
    name, end = opening["name"], opening["end"]
    first = name.split(".")[0]
    if end == ":":
        from omegaconf import OmegaConf

        return bool(OmegaConf.has_resolver(name))
    return (not first and bool(name)) or first in Experiment.model_fields
