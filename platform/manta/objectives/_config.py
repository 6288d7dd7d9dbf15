"""Configs of objectives and of the parts that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from manta.schedules import Schedule, Scheduled


class ObjectiveConfig(BaseModel):
    """Base of every objective's config; `name` is its registry name."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _whole_heads(cls, values: Any) -> Any:
        """A head that is given in part is this objective's in all else, not what `HeadConfig` has
        by default."""
        if not isinstance(values, Mapping):
            return values
        heads = {name: field.default for name, field in cls.model_fields.items()}
        return {name: _overlaid(heads.get(name), value) for name, value in values.items()}


class HeadConfig(BaseModel):
    """A projector or predictor: `layers - 1` hidden layers of `hidden` units, then `out`.

    With kind "reweighting" it is a fixed scale of each dimension instead, as wide as its input:
    only `kappa` counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["mlp", "reweighting"] = "mlp"
    hidden: int = Field(default=512, ge=1)
    out: int = Field(default=128, ge=1)
    layers: int = Field(default=2, ge=1)
    norm: Literal["batch", "layer", None] = "batch"
    norm_out: bool = Field(
        default=False, description="normalise the output too, without a learnt affine"
    )
    activation: Literal["relu", "gelu"] = "relu"
    kappa: float = Field(
        default=1.01, ge=1, description="reweighting: dimension i is divided by kappa to the i"
    )


def _overlaid(default: Any, given: Any) -> Any:
    """`given`, on top of a head's settings where it is a part of them."""
    if isinstance(default, HeadConfig) and isinstance(given, Mapping):
        return {**default.model_dump(), **given}
    return given


def _levels(scheduled: float | Schedule) -> dict[str, float]:
    """The named values between which a schedule moves."""
    if not isinstance(scheduled, Schedule):
        return {"it": scheduled}
    names = ["at", "start", "level", "end", *(["warmup_from"] if scheduled.warmup else [])]
    return {name: getattr(scheduled, name) for name in names if hasattr(scheduled, name)}


def _above_zero(scheduled: float | Schedule) -> float | Schedule:
    for name, level in _levels(scheduled).items():
        if not level > 0:
            raise ValueError(f"must stay above 0, but {name} is {level:g}")
    return scheduled


def _fraction(scheduled: float | Schedule) -> float | Schedule:
    for name, level in _levels(scheduled).items():
        if not 0 <= level <= 1:
            raise ValueError(f"must stay between 0 and 1, but {name} is {level:g}")
    return scheduled


Temperature = Annotated[Scheduled, AfterValidator(_above_zero)]
"""A config field: a number above 0, or a schedule that stays there."""

Momentum = Annotated[Scheduled, AfterValidator(_fraction)]
"""A config field: how much of itself an average keeps at each step, in 0..1, or a schedule of
it."""
