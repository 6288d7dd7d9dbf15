"""A search space: parameters, when each of them exists, and constraints between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from manta.config import Experiment
from manta.errors import ConfigError
from manta.tuning.space.constraints import Constraint
from manta.tuning.space.edit import edited, lookup

Kind = Literal["float", "int", "choice"]
Label = str | int | float | bool | None
"""Stands for a choice where only plain values can: in Optuna's storage, tables, MLflow."""
When = tuple[tuple[str, tuple[Label, ...]], ...]
"""Conditions `(path, labels)`: all must hold for a parameter to exist."""
GRID_TOLERANCE = 1e-8
"""Of a step, by which a value may miss the grid; Optuna's own."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A distribution of one value of the configuration.

    Attributes:
        name: unique in the space, and always of this distribution: `path`, or `path@choice` where
            the path has several.
        path: dotted, into the Experiment.
        low, high: bounds, both included; unused by a choice.
        step: of the grid from `low` to `high`; None: continuous. An int's is at least 1.
        choices: the values themselves, which may be lists or mappings.
        labels: one for each choice: a plain value itself, a list or a mapping as JSON.
        when: `(path, labels)`: active only where the choice at each path is one of the labels.
        line: in the file that the space was read from.
    """

    name: str
    path: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    labels: tuple[Label, ...] = ()
    when: When = ()
    line: int = 0

    def active(self, at: Mapping[str, Any]) -> bool:
        """Return whether the parameter exists where the choices are as in `at`, by path."""
        return all(path in at and at[path] in allowed for path, allowed in self.when)

    def value(self, drawn: Any) -> Any:
        """Return the value for the config of what was drawn: the choice behind a label.

        Raises:
            ConfigError: the space has no such choice.
        """
        if self.kind != "choice":
            return drawn
        if drawn not in self.labels:
            raise ConfigError(f"{self.name}: {drawn!r} is not among the choices of the space")
        return self.choices[self.labels.index(drawn)]

    def holds(self, value: Any) -> bool:
        """Return whether a number lies in the range and on the grid."""
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not self.low <= value <= self.high
        ):
            return False
        if self.step is None:
            return True
        position = (value - self.low) / self.step
        return abs(position - round(position)) < GRID_TOLERANCE


class _Outside(Exception):
    """A recipe's value lies outside of the space."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a study searches.

    `draw` returns what a study keeps of a trial: names to numbers and labels. The other methods
    take it back.

    Attributes:
        parameters: conditions come before what depends on them.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()
    description: str = ""

    def draw(self, suggest: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Draw each active parameter.

        Args:
            suggest: gives a number, or the label of a choice.

        Returns:
            names of parameters to what was drawn.
        """
        drawn: dict[str, Any] = {}
        at: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(at):
                drawn[parameter.name] = at[parameter.path] = suggest(parameter)
        return drawn

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return dotted paths to the values that the config takes.

        Raises:
            ConfigError: a name or a label that the space does not have (a study of an older space).
        """
        by_name = {parameter.name: parameter for parameter in self.parameters}
        unknown = [name for name in drawn if name not in by_name]
        if unknown:
            raise ConfigError(
                f"{unknown[0]}: the space has no such parameter; it was drawn from another space"
            )
        return {by_name[name].path: by_name[name].value(label) for name, label in drawn.items()}

    def apply(self, recipe: Experiment, drawn: Mapping[str, Any]) -> Experiment:
        """Return the recipe with the values set, validated once.

        A `.name` that differs from the recipe's brings the defaults of the new component: of the
        old one's fields none is kept in an objective or a schedule, and all but `args` in an
        encoder or an optimizer.

        Raises:
            ConfigError: the config refuses the combination.
        """
        return edited(recipe, self.values(drawn))

    def default(self, recipe: Experiment) -> dict[str, Any] | None:
        """Return the recipe's own configuration as if it were drawn; None outside of the space."""
        tree = recipe.model_dump(mode="json")

        def own(parameter: Parameter) -> Any:
            if parameter.kind == "choice":
                return self._own_choice(parameter, recipe)
            value = lookup(tree, parameter.path)
            if not parameter.holds(value):
                raise _Outside
            return int(value) if parameter.kind == "int" else float(value)

        try:
            return self.draw(own)
        except _Outside:
            return None

    def violated(self, recipe: Experiment, drawn: Mapping[str, Any]) -> str | None:
        """Return the first constraint that does not hold.

        None also where the config refuses the combination: no constraint says so, and the trial
        fails with the reason.
        """
        if not self.constraints:
            return None
        try:
            tree = self.apply(recipe, drawn).model_dump(mode="json")
        except ConfigError:
            return None
        broken = (one.text for one in self.constraints if not one.holds(tree))
        return next(broken, None)

    def _own_choice(self, parameter: Parameter, recipe: Experiment) -> Label:
        """Return the label of the choice that the recipe has itself."""
        # Applied and compared, since one configuration can be written in many ways (defaults, 1 or
        # 1.0, aliases).
        whole = recipe.model_dump_json()
        for label in parameter.labels:
            try:
                if self.apply(recipe, {parameter.name: label}).model_dump_json() == whole:
                    return label
            except ConfigError:
                continue
        raise _Outside


def label_of(value: Any) -> Label:
    """Return a plain value itself, anything else as compact JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)
