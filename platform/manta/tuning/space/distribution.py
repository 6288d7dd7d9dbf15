"""Distributions as a search-space file writes them: `{type: float, low: 0.1, high: 1.0}`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from manta.errors import did_you_mean
from manta.tuning.space.model import GRID_TOLERANCE, Label, Parameter, When, label_of
from manta.tuning.space.yaml import Node

_MISFIT = "misfit"
"""Type of an error that says in its context at which key it is to be shown."""


def _misfit(message: str, *at: Any) -> PydanticCustomError:
    """Return an error of two keys that do not suit each other, to be shown at the keys `at`."""
    return PydanticCustomError(_MISFIT, "{message}", {"message": message, "at": at})


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(f"{value:g} is not a whole number, and the type is int")
    return int(value)


def _conditions(value: Any) -> When:
    if not isinstance(value, dict) or not value:
        raise ValueError("must map the path of a choice to its values")
    conditions = []
    for path, allowed in value.items():
        listed = allowed if isinstance(allowed, list) else [allowed]
        conditions.append((str(path), tuple(label_of(item) for item in listed)))
    return tuple(conditions)


def _listed(value: Any) -> list[Any]:
    """Return the choices of a list, or those of a mapping to their own parameters."""
    if not isinstance(value, (list, dict)) or not value:
        raise ValueError("must be a list, or a mapping of choices to their own parameters")
    seen: list[Label] = []
    for position, choice in enumerate(value):
        label = label_of(choice)
        if label in seen:
            at = choice if isinstance(value, dict) else position
            raise _misfit(f"choice {label!r} is given twice", "choices", at)
        seen.append(label)
    return list(value)


_Number = Annotated[float, Strict(), AllowInfNan(False)]
_Whole = Annotated[_Number, AfterValidator(_whole)]


class _Distribution(BaseModel):
    """What every distribution may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: Annotated[Any, BeforeValidator(_conditions)] = ()


class _Range(_Distribution):
    """What the ranges of floats and of ints have in common."""

    type: Literal["float", "int"]
    low: float
    high: float
    step: float | None = None
    log: Annotated[bool, Strict()] = False

    @model_validator(mode="after")
    def _ends_suit(self) -> _Range:
        low, high, step = self.low, self.high, self.step
        if low >= high:
            raise _misfit(f"low {low:g} is not below high {high:g}", "low")
        if self.log and low <= 0:
            raise _misfit(f"a log range needs low above 0, not {low:g}", "low")
        if step is None:
            return self
        if self.log:
            raise _misfit("log and step exclude each other; drop one", "step")
        count = (high - low) / step
        if abs(count - round(count)) > GRID_TOLERANCE:
            last = low + math.floor(count) * step
            raise _misfit(f"steps of {step:g} end at {last:g}, not at high {high:g}", "high")
        return self

    def parameter(self, path: str, under: When, line: int) -> Parameter:
        """Return the parameter at `path`, which exists `under` these conditions too."""
        step = 1 if self.type == "int" and self.step is None else self.step
        when = under + self.when
        return Parameter(
            path, path, self.type, self.low, self.high, self.log, step, when=when, line=line
        )


class FloatRange(_Range):
    """A number between two bounds."""

    type: Literal["float"]
    low: _Number
    high: _Number
    step: Annotated[_Number, Field(gt=0)] | None = None


class IntRange(_Range):
    """A whole number between two bounds."""

    type: Literal["int"]
    low: _Whole
    high: _Whole
    step: Annotated[_Whole, Field(gt=0)] | None = None


class Choice(_Distribution):
    """One of several values."""

    type: Literal["choice"]
    choices: Annotated[list[Any], BeforeValidator(_listed)]

    def parameter(self, path: str, under: When, line: int) -> Parameter:
        """Return the parameter at `path`, which exists `under` these conditions too."""
        values = tuple(self.choices)
        labels = tuple(label_of(value) for value in values)
        when = under + self.when
        return Parameter(path, path, "choice", choices=values, labels=labels, when=when, line=line)


_KINDS: dict[str, type[BaseModel]] = {"float": FloatRange, "int": IntRange, "choice": Choice}
_ADAPTER: TypeAdapter[FloatRange | IntRange | Choice] = TypeAdapter(
    Annotated[FloatRange | IntRange | Choice, Field(discriminator="type")]
)


def parameter_at(path: str, node: Node, under: When) -> Parameter:
    """Return the parameter whose distribution a node of the file holds.

    Args:
        path: into the recipe.
        under: conditions that hold besides those of its own `when`; they come first.

    Raises:
        ConfigError: one line with the file, the line of the key, the path and what is wrong.
    """
    try:
        distribution = _ADAPTER.validate_python(node.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A key that is mistyped is missing too; the typing error is the one to show.
        first = min(details, key=lambda item: item["type"] != "extra_forbidden")
        keys, message = _explain(first)
        raise node.find(*keys).error(f"{path}: {message}") from None
    return distribution.parameter(path, under, node.line)


def _explain(item: ErrorDetails) -> tuple[tuple[Any, ...], str]:
    """Return the keys below the distribution at which an error lies, and its message."""
    context, value = item.get("ctx", {}), item["input"]
    # The first part of a location is the kind of distribution, which no key of the file is.
    keys = item["loc"][1:]
    key = keys[-1] if keys else ""
    match item["type"]:
        case "union_tag_not_found":
            return (), "needs a type: float, int or choice"
        case "union_tag_invalid":
            kind = value["type"]
            return ("type",), f"no distribution is of type {kind!r}{did_you_mean(kind, _KINDS)}"
        case "extra_forbidden":
            kind = str(item["loc"][0])
            hint = did_you_mean(key, _KINDS[kind].model_fields)
            return keys, f"a distribution of type {kind} has no {key!r}{hint}"
        case "missing":
            return (), f"{key} {'are' if key == 'choices' else 'is'} missing"
        case "float_type" | "finite_number":
            return keys, f"{key} must be a number, not {value!r}"
        case "bool_type":
            return keys, f"{key} must be true or false, not {value!r}"
        case "greater_than":
            return keys, f"{key} must be above {context['gt']:g}, not {value:g}"
        case "value_error":
            return keys, f"{key} {item['msg'].removeprefix('Value error, ')}"
        case _ if item["type"] == _MISFIT:
            return tuple(context["at"]), context["message"]
        case _:
            return keys, f"{item['msg']} (got {value!r})"
