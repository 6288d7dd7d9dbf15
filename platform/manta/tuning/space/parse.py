"""From a search-space file's nodes to a Space, as far as can be checked without a recipe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from manta.errors import ConfigError, did_you_mean
from manta.tuning.space.constraints import Constraint
from manta.tuning.space.model import GRID_TOLERANCE, Kind, Label, Parameter, Space, label_of
from manta.tuning.space.yaml import Node

_SECTIONS = ("description", "study", "space", "constraints")
_RANGE = ("type", "low", "high", "log", "step", "when")
_KEYS: dict[str, tuple[str, ...]] = {
    "float": _RANGE,
    "int": _RANGE,
    "choice": ("type", "choices", "when"),
}
When = tuple[tuple[str, tuple[Label, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Declared:
    """A distribution where it stands in the file, with the choices that it stands under."""

    path: str
    node: Node
    under: When


def parse(root: Node) -> tuple[Space, dict[str, Node]]:
    """The space, and the node of each parameter's distribution by the parameter's name.

    Raises:
        ConfigError: one line with file and line.
    """
    if not isinstance(root.value, dict):
        raise root.error("must hold the sections description, study, space and constraints")
    for key, node in root.children.items():
        if key not in _SECTIONS:
            raise node.error(f"{key}: no such section{did_you_mean(key, _SECTIONS)}")
    description = root.children.get("description", Node(root.file, 1, ""))
    if not isinstance(description.value, str):
        raise description.error("description: must be text")
    space = root.children.get("space")
    if space is None or not isinstance(space.value, dict) or not space.value:
        raise (space or root).error("space: must map dotted paths to distributions")
    declared = list(_declared(space, ()))
    parameters = [_parameter(item) for item in declared]
    _check_conditions(parameters, declared)
    named = _named(parameters)
    nodes: dict[str, Node] = {}
    for parameter, item in zip(named, declared, strict=True):
        if parameter.name in nodes:
            first = nodes[parameter.name].line
            raise item.node.error(
                f"{parameter.path}: given twice under the same condition; the first is on line {first}"
            )
        nodes[parameter.name] = item.node
    text = " ".join(description.value.split())
    return Space(_ordered(named, nodes), tuple(_constraints(root)), text), nodes


def _declared(section: Node, under: When) -> Iterator[_Declared]:
    for path, node in section.children.items():
        if not isinstance(path, str):
            raise node.error(f"{path}: must be a dotted path, such as objective.temperature")
        if not isinstance(node.value, dict):
            raise node.error(
                f"{path}: must be a distribution, such as {{type: float, low: 0.03, high: 1.0}}"
            )
        yield _Declared(path, node, under)
        choices = node.children.get("choices")
        if choices is None or not isinstance(choices.value, dict):
            continue
        for choice, inner in choices.children.items():
            if not isinstance(inner.value, (dict, type(None))):
                raise inner.error(
                    f"{path}: choice {choice} must hold a mapping of its own parameters, or nothing"
                )
            yield from _declared(inner, (*under, (path, (choice,))))


def _parameter(declared: _Declared) -> Parameter:
    path, node = declared.path, declared.node
    kind = node.value.get("type")
    if "type" not in node.value:
        raise node.error(f"{path}: needs a type: float, int or choice")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise node.children["type"].error(
            f"{path}: no distribution is of type {kind!r}{did_you_mean(kind, _KEYS)}"
        )
    for key, child in node.children.items():
        if key not in _KEYS[kind]:
            raise child.error(
                f"{path}: a distribution of type {kind} has no {key!r}{did_you_mean(key, _KEYS[kind])}"
            )
    when = declared.under + _when(path, node)
    if kind == "choice":
        choices = _choices(path, node)
        labels = tuple(label_of(choice) for choice in choices)
        return Parameter(
            path, path, "choice", choices=choices, labels=labels, when=when, line=node.line
        )
    low, high, step, log = _range(path, node, kind)
    return Parameter(path, path, cast(Kind, kind), low, high, log, step, when=when, line=node.line)


def _range(path: str, node: Node, kind: str) -> tuple[float, float, float | None, bool]:
    for key in ("low", "high"):
        if key not in node.value:
            raise node.error(f"{path}: {key} is missing")
    low, high = (_number(path, node, key, kind) for key in ("low", "high"))
    step = None if node.value.get("step") is None else _number(path, node, "step", kind)
    log = node.value.get("log", False)
    if not isinstance(log, bool):
        raise node.children["log"].error(f"{path}: log must be true or false, not {log!r}")
    if low >= high:
        raise node.children["low"].error(f"{path}: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise node.children["low"].error(f"{path}: a log range needs low above 0, not {low:g}")
    if step is not None:
        if log:
            raise node.children["step"].error(f"{path}: log and step exclude each other; drop one")
        if step <= 0:
            raise node.children["step"].error(f"{path}: step must be above 0, not {step:g}")
        count = (high - low) / step
        if abs(count - round(count)) > GRID_TOLERANCE:
            last = low + math.floor(count) * step
            raise node.children["high"].error(
                f"{path}: steps of {step:g} end at {last:g}, not at high {high:g}"
            )
    return low, high, 1 if kind == "int" and step is None else step, log


def _number(path: str, node: Node, key: str, kind: str) -> float:
    value = node.value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise node.children[key].error(f"{path}: {key} must be a number, not {value!r}")
    if kind == "int":
        if value != int(value):
            raise node.children[key].error(
                f"{path}: {key} {value:g} is not a whole number, and the type is int"
            )
        return int(value)
    return float(value)


def _choices(path: str, node: Node) -> tuple[Any, ...]:
    choices = node.children.get("choices")
    if choices is None:
        raise node.error(f"{path}: choices are missing")
    if not isinstance(choices.value, (list, dict)) or not choices.value:
        raise choices.error(
            f"{path}: choices must be a list, or a mapping of choices to their own parameters"
        )
    seen: list[Label] = []
    for position, value in enumerate(choices.value):
        label = label_of(value)
        if label in seen:
            at = choices.children[value if isinstance(choices.value, dict) else position]
            raise at.error(f"{path}: choice {label!r} is given twice")
        seen.append(label)
    return tuple(choices.value)


def _when(path: str, node: Node) -> When:
    when = node.children.get("when")
    if when is None:
        return ()
    if not isinstance(when.value, dict) or not when.value:
        raise when.error(f"{path}: when must map the path of a choice to its values")
    return tuple(
        (
            str(other),
            tuple(
                label_of(value) for value in (allowed if isinstance(allowed, list) else [allowed])
            ),
        )
        for other, allowed in when.value.items()
    )


def _check_conditions(parameters: list[Parameter], declared: list[_Declared]) -> None:
    """Each condition is on a choice of the space, and on values that it has."""
    for parameter, item in zip(parameters, declared, strict=True):
        for path, allowed in parameter.when[len(item.under) :]:
            at = item.node.children["when"].children[path]
            conditions = [other for other in parameters if other.path == path]
            if not conditions:
                paths = [other.path for other in parameters]
                raise at.error(
                    f"{parameter.path}: when: {path} is not in the space{did_you_mean(path, paths)}"
                )
            if any(other.kind != "choice" for other in conditions):
                raise at.error(
                    f"{parameter.path}: when: {path} is a range; only a choice can be a condition"
                )
            labels = [label for other in conditions for label in other.labels]
            for label in allowed:
                if label not in labels:
                    hint = did_you_mean(label, labels)
                    raise at.error(f"{parameter.path}: when: {path} is never {label!r}{hint}")
            if not allowed:
                raise at.error(f"{parameter.path}: when: {path} has no values")


def _named(parameters: list[Parameter]) -> list[Parameter]:
    """Names that are unique: the path, with as much of the conditions as tells it from others of
    the same path."""
    named = list(parameters)
    for suffix in (_last_label, _all_labels, _all_conditions):
        taken = Counter(parameter.name for parameter in named)
        named = [
            replace(parameter, name=f"{parameter.path}@{suffix(parameter.when)}")
            if taken[parameter.name] > 1 and parameter.when
            else parameter
            for parameter in named
        ]
    return named


def _last_label(when: When) -> str:
    return "|".join(str(label) for label in when[-1][1])


def _all_labels(when: When) -> str:
    return ",".join(_last_label((condition,)) for condition in when)


def _all_conditions(when: When) -> str:
    return ",".join(f"{condition[0]}={_last_label((condition,))}" for condition in when)


def _ordered(parameters: list[Parameter], nodes: Mapping[str, Node]) -> tuple[Parameter, ...]:
    """Conditions before what depends on them."""
    known = {parameter.name: parameter for parameter in parameters}
    names: dict[str, list[str]] = {}
    for parameter in parameters:
        names.setdefault(parameter.path, []).append(parameter.name)
    graph = {p.name: [name for path, _ in p.when for name in names[path]] for p in parameters}
    try:
        return tuple(known[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        first, *rest = dict.fromkeys(error.args[1])
        through = f", through {', '.join(rest)}" if rest else ""
        raise nodes[first].error(
            f"{first}: exists only where it has a certain value itself{through}"
        ) from None


def _constraints(root: Node) -> Iterator[Constraint]:
    section = root.children.get("constraints")
    if section is None or section.value is None:
        return
    if not isinstance(section.value, list):
        raise section.error(
            "constraints: must be a list of comparisons, such as `- views.local_size < data.image_size`"
        )
    for node in section.children.values():
        if not isinstance(node.value, str):
            raise node.error(f"constraints: {node.value!r} is no comparison")
        try:
            yield Constraint(node.value, node.line)
        except ConfigError as error:
            raise node.error(f"constraints: {error}") from None
