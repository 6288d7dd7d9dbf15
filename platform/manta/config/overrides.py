"""Overrides: the `section.key=value` words of a command line, applied to a recipe.

`objective.name=byol` (or `objective=byol`) switches the method by the rule of `manta.config.named`,
wherever it stands among the words; settings given in the same command go on top of the new one's
defaults. Entries of `evaluation.evaluators` are reached by position or by name; a name that is not
in the list adds that evaluator, and `null` takes one out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from manta.config.named import SCHEDULE, Part, field_default, part_of
from manta.config.scalars import settled
from manta.config.sections import Experiment, with_view_pipeline
from manta.config.text import Written, WrittenMap, as_text, is_null, parse_typed, plain
from manta.errors import ConfigError, did_you_mean

_BRACKETS = re.compile(r"\[([^\[\]]+)\]")


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Return the words as one tree of changes; of two that set the same key the later one counts.

    Raises:
        ConfigError: a word is not of the form `section.key=value`.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        parts = _BRACKETS.sub(r".\1", key).split(".")
        if not equals or key.startswith("-") or not all(parts):
            raise ConfigError(f"override {word!r} is not of the form section.key=value")
        _add(changes, parts, parse_typed(word, text))
    return changes


def _add(section: Any, parts: list[str], value: Any) -> None:
    """Set the value at a path in the changes so far, or in a list that one of them gives."""
    key = _place(section, parts[0])
    before = section[key] if isinstance(section, list) else section.get(key)
    if len(parts) > 1:
        if isinstance(before, str):  # objective=byol objective.momentum=0.9
            before = {"name": before}
        # A copy: what was typed is not the text of what it becomes.
        is_dict, is_list = isinstance(before, dict), isinstance(before, list)
        section[key] = list(before) if is_list else dict(before) if is_dict else {}
        _add(section[key], parts[1:], value)
        return
    section[key] = _together(before, value) if isinstance(before, dict) else value


def _together(before: dict[Any, Any], value: Any) -> Any:
    """Return a mapping with the entries of a later word; for a text, the later word alone."""
    named = {"name": value} if isinstance(value, str) else value
    if not isinstance(named, dict):
        return value
    return _as_typed(before | named, value)


def _as_typed(mapping: dict[Any, Any], word: Any) -> dict[Any, Any]:
    """Return a mapping that stands for the text of the word, if that has one."""
    if not isinstance(word, Written):
        return mapping
    typed = WrittenMap(mapping)
    typed.text = word.text
    return typed


def _place(section: Any, key: str) -> Any:
    """Return the position of an entry that is meant by position or name, which may be added.

    `evaluators=[knn, linear] evaluators.knn.k=5` changes the list of the first word.
    """
    if not isinstance(section, list):
        return key
    names = [one.get("name") if isinstance(one, dict) else one for one in section]
    if key.isdigit():
        if int(key) >= len(section):
            raise ConfigError(f"{key}: the list that an override gives has {len(section)} entries")
        return int(key)
    if any(isinstance(name, (int, float)) for name in names):
        raise ConfigError(f"{key}: the list that an override gives is reached by position")
    if names.count(key) > 1:
        raise ConfigError(f"{key}: listed {names.count(key)} times; give a position")
    if key not in names:
        section.append({"name": key})
        return len(section) - 1
    return names.index(key)


def apply_overrides(
    tree: Mapping[str, Any],
    changes: Mapping[str, Any],
    model: type[BaseModel] = Experiment,
) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's plain data with changes on top, and notes for the user.

    Args:
        tree: what the recipe's file holds.
        changes: from `parse_overrides`.
        model: of the data.

    Returns:
        The changed data, not validated; and one line for each part whose settings were dropped, or
        that was added to a list.

    Raises:
        ConfigError: a position or a name is in no list, or a value is not YAML.
    """
    notes: list[str] = []
    root = Part(fixed=model)
    if model is Experiment:
        tree, changes = with_view_pipeline(tree), _with_view_pipeline(changes)
    merged = _settings(root, tree, changes, "", notes)
    return settled(root, None, merged), notes


def _with_view_pipeline(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return changes in which another modality brings its view pipeline."""
    data = changes.get("data")
    modality = as_text(data.get("modality")) if isinstance(data, Mapping) else None
    if not isinstance(modality, str):
        return changes
    return with_view_pipeline({**changes, "data": {"modality": modality}}) | {"data": data}


def _merged(
    part: Part | None, default: Any, base: Any, change: Any, path: str, notes: list[str]
) -> Any:
    """Return the value at `path`: `change` on top of `base`, which is None where nothing is set."""
    if part is not None and part.many:
        return _entries(part, default if base is None else base, change, path, notes)
    if part is not None and _is_name(part, change):
        change = {"name": change}
    if not isinstance(change, Mapping):
        return change
    if isinstance(base, list):
        return _positions(base, change, path)
    if part is not None and part.has_name and isinstance(base, str):
        base = {"name": base}
    if not isinstance(base, Mapping):
        base = _default_schedule(part, default, change) if base is None else {}
    if part is None:  # a mapping of plain values, such as `encoder.args`: what is not named stays
        inner = {
            key: _merged(None, None, base.get(key), value, f"{path}.{key}", notes)
            for key, value in change.items()
        }
        return _as_typed({**base, **inner}, change)
    return _settings(part, base, change, path, notes, default)


def _settings(
    part: Part,
    base: Mapping[str, Any],
    change: Mapping[str, Any],
    path: str,
    notes: list[str],
    default: Any = None,
) -> dict[str, Any]:
    """Return the settings of one part; another name first, since it decides what the keys are."""
    old = as_text(part.name_in(base, default))
    new = as_text(change.get(part.key, old))
    settings = dict(base)
    is_named = part.has_name or part.kind is not None
    if is_named and isinstance(new, str) and new != old:
        settings = part.under(new, base)
        dropped = _lost(part.model(old), base, settings)
        if dropped:
            what = f"{path}.{part.key}={new}"
            notes.append(f"{what}: dropped what was set for {old}: {_words(dropped)}")
    model = part.model(new)
    for key, value in change.items():
        field = model.model_fields.get(key) if model is not None else None
        inner = f"{path}.{key}" if path else key
        settings[key] = _merged(
            part_of(field), field_default(field), settings.get(key), value, inner, notes
        )
    return settings


def _lost(
    model: type[BaseModel] | None, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings that a new name drops, but for those that were defaults anyway."""
    fields = model.model_fields if model is not None else {}
    return {
        key: value
        for key, value in before.items()
        if key not in after and (key not in fields or value != field_default(fields[key]))
    }


def _entries(part: Part, base: Any, change: Any, path: str, notes: list[str]) -> Any:
    """Return a list of named parts, of which `change` is all, or has some by position or name."""
    if isinstance(change, list):
        given = [{"name": one} if isinstance(one, str) else one for one in change]
        return [one for one in given if not is_null(one)]  # taken out by a word that followed
    if not isinstance(change, Mapping) or not isinstance(base, list):
        return change
    entries: list[Any] = [dict(one) if isinstance(one, Mapping) else {"name": one} for one in base]
    for key, value in change.items():
        position = _position(part, entries[: len(base)], key, path)
        if position is None:
            if is_null(value):
                raise ConfigError(f"{path}.{key}: is not in the list and cannot be taken out")
            entries.append({"name": key})
            notes.append(f"{path}: added {key}")
            position = len(entries) - 1
        entries[position] = _merged(
            part.one, None, entries[position], value, f"{path}.{key}", notes
        )
    # Only now, so that positions are those of the recipe's list.
    return [one for one in entries if not is_null(one)]


def _position(part: Part, entries: list[Any], key: str, path: str) -> int | None:
    """Return where the entry that `key` means is; None for a name that is to be added."""
    names = [None if is_null(entry) else entry.get("name") for entry in entries]
    if key.isdigit():
        if int(key) < len(entries):
            return int(key)
        listed = ", ".join(f"{place} {name}" for place, name in enumerate(names))
        raise ConfigError(f"{path}.{key}: the list ends before ({listed}); add one by its name")
    places = [place for place, name in enumerate(names) if name == key]
    if len(places) > 1:
        raise ConfigError(f"{path}.{key}: listed {len(places)} times; give a position: {places}")
    if places:
        return places[0]
    if part.kind is not None and part.model(key) is None:
        hint = did_you_mean(key, part.kind.names())
        raise ConfigError(f"{path}.{key}: no {part.kind.noun} is named {key!r}{hint}")
    return None


def _positions(base: list[Any], change: Mapping[str, Any], path: str) -> list[Any]:
    """Return a list of plain values with some of them replaced by position."""
    values = list(base)
    for key, value in change.items():
        if not key.isdigit() or int(key) >= len(values):
            last = len(values) - 1
            raise ConfigError(f"{path}.{key}: no such position; the list has 0 to {last}")
        values[int(key)] = value
    return values


def _default_schedule(part: Part | None, default: Any, change: Mapping[str, Any]) -> Any:
    """Return the schedule that a field has by default, if single settings of it are changed."""
    if part is None or part.kind is not SCHEDULE or not isinstance(default, Mapping):
        return {}
    return default if change.get("name", default["name"]) == default["name"] else {}


def _is_name(part: Part, change: Any) -> bool:
    """Return whether a value is the short form of `name=value`."""
    if not isinstance(change, str) or not part.has_name:
        return False
    if part.kind is not SCHEDULE:
        return True
    try:  # a schedule's place takes a number too, which may be quoted
        float(change)
    except ValueError:
        return True
    return False


def _words(settings: Mapping[str, Any]) -> str:
    """Return settings as `key=value, key=value`."""
    return ", ".join(f"{key}={_flow(value)}" for key, value in settings.items())


def _flow(value: Any) -> str:
    text = yaml.safe_dump(plain(value), default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
