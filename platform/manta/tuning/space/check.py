"""Checks of a space against the recipe that it is to vary, before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from torch import nn

from manta.config import Experiment
from manta.encoders import check_name_fits
from manta.errors import ConfigError, did_you_mean
from manta.modalities import MODALITIES
from manta.tuning.space.constraints import Constraint
from manta.tuning.space.edit import ABSENT, lookup
from manta.tuning.space.model import Label, Parameter, Space
from manta.tuning.space.yaml import Node

SECTIONS = ("objective", "views", "optimizer", "train", "encoder")
"""Whose keys can be searched, beside those of `data` that the modality names."""
INSIDE = 0.381966
"""Fraction of a range at which it is tried: no round number, so that a whole-number field refuses
it."""
MOST_TRIED = 32
"""How many values of a grid are tried."""
World = dict[str, Any]
"""Drawn values of the parameters that decide whether and where another exists."""


def check(space: Space, nodes: Mapping[str, Node], recipe: Experiment, file: str) -> None:
    """Check that the recipe takes every value that the space can draw.

    Args:
        nodes: where each parameter stands, by name.

    Raises:
        ConfigError: one line with file and line.
    """
    of_data = MODALITIES[recipe.data.modality].searchable
    searchable = (*SECTIONS, *(f"data.{key}" for key in of_data))
    for parameter in space.parameters:
        _check_searchable(parameter, nodes[parameter.name], searchable)
    for one, other in combinations(space.parameters, 2):
        if one.path == other.path:
            _check_alone(space, one, other, nodes[other.name])
    # Choices of names first: an objective that does not exist is its own mistake, and would
    # otherwise be told as one of its temperature.
    by_influence = sorted(
        space.parameters, key=lambda p: (p.kind != "choice", not p.path.endswith(".name"))
    )
    for parameter in by_influence:
        _check_values(space, parameter, nodes[parameter.name], recipe)
    for constraint in space.constraints:
        try:
            _check_constraint(space, constraint, recipe)
        except ConfigError as error:
            raise Node(file, constraint.line, None).error(f"constraints: {error}") from None


def _check_searchable(parameter: Parameter, node: Node, searchable: Sequence[str]) -> None:
    path = parameter.path
    section = path.partition(".")[0]
    if section not in Experiment.model_fields:
        raise node.error(f"{path}: no such key{did_you_mean(section, Experiment.model_fields)}")
    if path == section:
        raise node.error(f"{path}: is a whole section; name a key in it")
    if section not in searchable and path not in searchable:
        raise node.error(
            f"{path}: cannot be searched, since trials that differ in data, measurement or "
            f"resources are not comparable; what can: {', '.join(searchable)}"
        )


def _check_alone(space: Space, one: Parameter, other: Parameter, node: Node) -> None:
    """Check that no draw has both of two distributions for one path."""
    for world in _worlds(space, [path for path, _ in (*one.when, *other.when)]):
        at = _at(space, world)
        if one.active(at) and other.active(at):
            both = f"both can hold at once{_words(at)}"
            raise node.error(f"{one.path}: given on line {one.line} too, and {both}")


def _check_values(space: Space, parameter: Parameter, node: Node, recipe: Experiment) -> None:
    """Check that the recipe takes each bound and each choice, wherever the parameter exists."""
    path = parameter.path
    deciding = {condition for condition, _ in parameter.when} | _owners(space, path)
    worlds = [world for world in _worlds(space, deciding) if parameter.active(_at(space, world))]
    if not worlds:
        raise node.error(f"{path}: never exists, since its conditions exclude one another")
    for world in worlds:
        for value, place in _probes(parameter, node):
            try:
                experiment = space.apply(recipe, world | {parameter.name: value})
                _check_buildable(path, value, experiment)
            except ConfigError as error:
                message = _refusal(path, str(error))
                at = _at(space, world)
                if message.startswith("no such key"):
                    # The config's own hint knows nothing of this world.
                    message = "no such key" + _instead(path, at, space.apply(recipe, world))
                else:
                    message += _words(at)
                raise place.error(f"{path}: {message}") from None


def _check_constraint(space: Space, constraint: Constraint, recipe: Experiment) -> None:
    """Check that each path exists somewhere in the space, and that its values can be compared."""
    unknown = dict.fromkeys(constraint.paths, "")
    for world in _worlds(space, set(unknown).union(*(_owners(space, path) for path in unknown))):
        try:
            tree = space.apply(recipe, world).model_dump(mode="json")
        except ConfigError:
            continue  # two values that the recipe takes alone, and not together
        constraint.holds(tree)
        unknown = {path: _hint(tree, path) for path in unknown if lookup(tree, path) is ABSENT}
    for path, hint in unknown.items():
        raise ConfigError(f"{path}: no such key{hint}")


def _worlds(space: Space, paths: Collection[str]) -> Iterator[World]:
    """Yield every combination of values of the parameters at `paths` and of those they depend on.

    A range is at its `low`.
    """
    closed = set(paths)
    for parameter in reversed(space.parameters):
        if parameter.path in closed:
            closed.update(path for path, _ in parameter.when)
    involved = [parameter for parameter in space.parameters if parameter.path in closed]

    def extend(world: World, at: dict[str, Any], rest: list[Parameter]) -> Iterator[World]:
        for position, parameter in enumerate(rest):
            if parameter.active(at):
                for value in parameter.labels or (parameter.low,):
                    named, placed = {parameter.name: value}, {parameter.path: value}
                    yield from extend(world | named, at | placed, rest[position + 1 :])
                return
        yield world

    return extend({}, {}, involved)


def _at(space: Space, world: World) -> dict[str, Any]:
    return {
        parameter.path: world[parameter.name]
        for parameter in space.parameters
        if parameter.name in world
    }


def _owners(space: Space, path: str) -> set[str]:
    """Return the paths in the space that decide what lies at `path`.

    Such is the name of its component, or a section as a whole.
    """
    sections = {
        parameter.path: parameter.path.removesuffix(".name") for parameter in space.parameters
    }
    return {
        owner
        for owner, section in sections.items()
        if owner != path and path.startswith(f"{section}.")
    }


def _probes(parameter: Parameter, node: Node) -> Iterator[tuple[Label, Node]]:
    """Yield the values to try, each with its place: choices; bounds, and values between them."""
    if parameter.kind == "choice":
        listed = node.children["choices"]
        places = listed.children.values()
        yield from zip(parameter.labels, places, strict=True)
        return
    low, high = parameter.low, parameter.high
    yield low, node.children["low"]
    yield high, node.children["high"]
    if parameter.step is None:
        yield low + INSIDE * (high - low), node
        return
    for position in range(1, min(round((high - low) / parameter.step), MOST_TRIED)):
        yield low + position * parameter.step, node


def _check_buildable(path: str, value: Label, experiment: Experiment) -> None:
    """Ask timm whether it has the encoder, and the optimizer with these arguments."""
    if path.startswith(("optimizer.name", "optimizer.args")):
        from manta.training.optimizer import build_optimizer

        build_optimizer(nn.Linear(1, 1), experiment.optimizer)
    if path == "encoder.name":
        from manta.encoders import check_known, folder_of, names

        folder = folder_of(str(value))
        if folder is not None and not folder.is_absolute():
            # The trials have another working directory.
            raise ConfigError(f"{path}: write the whole path of the folder, {folder.absolute()}")
        name = experiment.encoder.name
        if name.partition(".")[0] not in list(names()):
            raise ConfigError(f"{path}: no encoder is named {name!r}")
        check_known(name)
        _check_fits(experiment)


def _refusal(path: str, message: str) -> str:
    """Return the config's own words without the path.

    It may write the path in more detail (a kind of schedule, a position).
    """
    where, _, what = message.partition(": ")
    parts = iter(where.split("."))
    more = all(part in parts for part in path.split("."))
    return what if more or path.startswith(f"{where}.") else message


def _instead(path: str, at: Mapping[str, Any], experiment: Experiment) -> str:
    """Say where there is no such key, and what there is."""
    if path.startswith("objective."):
        at = {"objective.name": experiment.objective.name, **at}
    return _words(at) + _hint(experiment.model_dump(mode="json"), path)


def _hint(tree: Mapping[str, Any], path: str) -> str:
    """Say what could have been meant by the first key of `path` that does not exist."""
    section: Any = tree
    for part in path.split("."):
        if not isinstance(section, Mapping):
            break
        if part not in section:
            return did_you_mean(part, sorted(section))
        section = section[part]
    return ""


def _words(settings: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{path}={value}" for path, value in settings.items())
    return f" with {listed}" if listed else ""


def _check_fits(experiment: Experiment) -> None:
    modality = experiment.modality()
    if modality.is_complete:
        check_name_fits(experiment.encoder, modality.spec)
