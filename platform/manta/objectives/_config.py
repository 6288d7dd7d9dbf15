"""Settings of objectives and of the parts that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from manta.schedules import Schedule, Scheduled


class ObjectiveConfig(BaseModel):
    """Base of every objective's settings; `name` is its registry name."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    name: str = Field(description="which objective")

    @model_validator(mode="before")
    @classmethod
    def _whole_heads(cls, values: Any) -> Any:
        """Complete a partly given head from this objective's default, not from `HeadConfig`'s."""
        if not isinstance(values, Mapping):
            return values
        heads = {name: field.default for name, field in cls.model_fields.items()}
        return {name: _overlaid(heads.get(name), value) for name, value in values.items()}


class HeadConfig(BaseModel):
    """Settings of a projector or predictor.

    With kind "mlp" it has `layers - 1` hidden layers of `hidden` units, then `out`.

    With kind "reweighting" it is a fixed scale of each dimension instead, as wide as its input:
    only `kappa` counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["mlp", "reweighting"] = Field(
        default="mlp", description="an MLP, or a fixed scale of each dimension"
    )
    hidden: int = Field(default=512, ge=1, description="units of each hidden layer")
    out: int = Field(default=128, ge=1, description="dimensions of the output")
    layers: int = Field(
        default=2, ge=1, description="linear layers, the last one included; 1 is linear"
    )
    norm: Literal["batch", "layer", None] = Field(
        default="batch", description="normalisation after each hidden layer; null for none"
    )
    norm_out: bool = Field(
        default=False, description="normalise the output too, without a learned affine"
    )
    activation: Literal["relu", "gelu"] = Field(
        default="relu", description="after each hidden layer"
    )
    kappa: float = Field(
        default=1.01, ge=1, description="reweighting: dimension i is divided by kappa to the i"
    )


def _overlaid(default: Any, given: Any) -> Any:
    """Return `given` on top of `default`, where `given` is part of a head's settings."""
    if isinstance(default, HeadConfig) and isinstance(given, Mapping):
        return {**default.model_dump(), **given}
    return given


def _levels(scheduled: float | Schedule) -> dict[str, float]:
    """Return the named values between which a schedule moves."""
    if not isinstance(scheduled, Schedule):
        return {"it": scheduled}
    names = ["at", "start", "level", "end", *(["warmup_from"] if scheduled.warmup else [])]
    return {name: getattr(scheduled, name) for name in names if hasattr(scheduled, name)}


@dataclass(frozen=True, slots=True)
class LevelsWithin:
    """A validator that keeps every value of a number or a schedule in a range.

    Attributes:
        range: the range, for `manta describe`.
        words: the range in an error's sentence.
        holds: whether one value is in the range.
    """

    range: str
    words: str
    holds: Callable[[float], bool]

    def __call__(self, scheduled: float | Schedule) -> float | Schedule:
        for name, level in _levels(scheduled).items():
            if not self.holds(level):
                raise ValueError(f"must stay {self.words}, but {name} is {level:g}")
        return scheduled


_ABOVE_ZERO = LevelsWithin("> 0", "above 0", lambda level: level > 0)
_FRACTION = LevelsWithin(">= 0, <= 1", "between 0 and 1", lambda level: 0 <= level <= 1)

Temperature = Annotated[Scheduled, AfterValidator(_ABOVE_ZERO)]
"""A config field: a number above 0, or a schedule that stays there."""

Momentum = Annotated[Scheduled, AfterValidator(_FRACTION)]
"""A config field: the share in 0..1 that an average keeps at each step, or a schedule of it."""
