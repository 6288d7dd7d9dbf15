"""From a search-space file's nodes to a Space, as far as can be checked without a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from manta.errors import ConfigError, did_you_mean
from manta.tuning.space.constraints import Constraint
from manta.tuning.space.distribution import parameter_at
from manta.tuning.space.model import Parameter, Space, When
from manta.tuning.space.yaml import Node

_SECTIONS = ("description", "study", "space", "constraints")


@dataclass(frozen=True, slots=True)
class _Declared:
    """A distribution where it stands in the file.

    Attributes:
        path: into the recipe.
        node: of the distribution.
        under: conditions that follow from the choices in which it is nested.
        parameter: what it says.
    """

    path: str
    node: Node
    under: When
    parameter: Parameter


def parse(root: Node) -> tuple[Space, dict[str, Node]]:
    """Return the space, and the node of each parameter's distribution by the parameter's name.

    Raises:
        ConfigError: one line with file and line.
    """
    if not isinstance(root.value, dict):
        raise root.error("must hold the sections description, study, space and constraints")
    for key, node in root.children.items():
        if key not in _SECTIONS:
            raise node.error(f"{key}: no such section{did_you_mean(key, _SECTIONS)}")
    description = root.children.get("description", Node(root.file, 1, ""))
    if isinstance(description.value, (dict, list)):
        raise description.error("description: must be text")
    space = root.children.get("space")
    if space is None or not isinstance(space.value, dict) or not space.value:
        raise (space or root).error("space: must map dotted paths to distributions")
    declared = list(_declared(space, ()))
    for item in declared:
        _check_conditions(item, [other.parameter for other in declared])
    parameters, nodes = _named(declared)
    text = "" if description.value is None else " ".join(str(description.value).split())
    return Space(_ordered(parameters, nodes), tuple(_constraints(root)), text), nodes


def _declared(section: Node, under: When) -> Iterator[_Declared]:
    """Yield the distributions of a section, and those nested in their choices, to any depth."""
    for path, node in section.children.items():
        if not isinstance(path, str):
            raise node.error(f"{path}: must be a dotted path, such as objective.temperature")
        if not isinstance(node.value, dict):
            example = "{type: float, low: 0.03, high: 1.0}"
            raise node.error(f"{path}: must be a distribution, such as {example}")
        yield _Declared(path, node, under, parameter_at(path, node, under))
        choices = node.children.get("choices")
        if choices is None or not isinstance(choices.value, dict):
            continue
        for choice, inner in choices.children.items():
            if not isinstance(inner.value, (dict, type(None))):
                what = "must hold a mapping of its own parameters, or nothing"
                raise inner.error(f"{path}: choice {choice} {what}")
            yield from _declared(inner, (*under, (path, (choice,))))


def _check_conditions(item: _Declared, parameters: list[Parameter]) -> None:
    """Check that each `when` is on a choice of the space, and on values that the choice has."""
    # The conditions that nesting gave come first, and hold by construction.
    for path, allowed in item.parameter.when[len(item.under) :]:
        node = item.node.children["when"].children[path]
        where = f"{item.path}: when: {path}"
        conditions = [other for other in parameters if other.path == path]
        if not conditions:
            hint = did_you_mean(path, [other.path for other in parameters])
            raise node.error(f"{where} is not in the space{hint}")
        if any(other.kind != "choice" for other in conditions):
            raise node.error(f"{where} is a range; only a choice can be a condition")
        labels = [label for other in conditions for label in other.labels]
        for label in allowed:
            if label not in labels:
                hint = did_you_mean(label, labels)
                raise node.error(f"{where} is never {label!r}{hint}")
        if not allowed:
            raise node.error(f"{where} has no values")


def _named(declared: list[_Declared]) -> tuple[list[Parameter], dict[str, Node]]:
    """Return the parameters with unique names, and their nodes by name.

    A name is the path, with as much of the conditions as tells it from others of the same path.
    Studies keep these names in their databases, so they must not change.
    """
    named = [item.parameter for item in declared]
    for suffix in (_last_label, _all_labels, _all_conditions):
        taken = Counter(parameter.name for parameter in named)
        named = [
            replace(parameter, name=f"{parameter.path}@{suffix(parameter.when)}")
            if taken[parameter.name] > 1 and parameter.when
            else parameter
            for parameter in named
        ]
    nodes: dict[str, Node] = {}
    for parameter, item in zip(named, declared, strict=True):
        if parameter.name in nodes:
            first = f"the first is on line {nodes[parameter.name].line}"
            raise item.node.error(f"{item.path}: given twice under the same condition; {first}")
        nodes[parameter.name] = item.node
    return named, nodes


def _last_label(when: When) -> str:
    return "|".join(str(label) for label in when[-1][1])


def _all_labels(when: When) -> str:
    return ",".join(_last_label((condition,)) for condition in when)


def _all_conditions(when: When) -> str:
    return ",".join(f"{condition[0]}={_last_label((condition,))}" for condition in when)


def _ordered(parameters: list[Parameter], nodes: Mapping[str, Node]) -> tuple[Parameter, ...]:
    """Return conditions before what depends on them, since that is the order of drawing."""
    by_name = {parameter.name: parameter for parameter in parameters}
    names: dict[str, list[str]] = {}
    for parameter in parameters:
        names.setdefault(parameter.path, []).append(parameter.name)
    graph = {p.name: [name for path, _ in p.when for name in names[path]] for p in parameters}
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        first, *rest = dict.fromkeys(error.args[1])
        through = f", through {', '.join(rest)}" if rest else ""
        message = f"{first}: exists only where it has a certain value itself{through}"
        raise nodes[first].error(message) from None


def _constraints(root: Node) -> Iterator[Constraint]:
    section = root.children.get("constraints")
    if section is None or section.value is None:
        return
    if not isinstance(section.value, list):
        example = "`- views.local_size < data.image_size`"
        raise section.error(f"constraints: must be a list of comparisons, such as {example}")
    for node in section.children.values():
        if not isinstance(node.value, str):
            raise node.error(f"constraints: {node.value!r} is no comparison")
        try:
            yield Constraint(node.value, node.line)
        except ConfigError as error:
            raise node.error(f"constraints: {error}") from None
