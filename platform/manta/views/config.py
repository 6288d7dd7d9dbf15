"""Settings that every view pipeline has."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Intent = Literal["simclr", "byol", "multicrop", "plain"]
"""What views are for: two alike, two unlike, large and small ones, or nothing but a crop."""


class ViewsConfig(BaseModel):
    """Base of the settings of every view pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ranges: ClassVar[tuple[str, ...]] = ()
    """Settings that are pairs of a lower and an upper bound."""

    name: str = Field("image", description="which view pipeline; by default that of data.modality")
    preset: Literal["auto", "simclr", "byol", "multicrop", "plain"] = Field(
        "auto", description="auto: what the objective's paper uses"
    )
    strength: float = Field(
        1.0, ge=0, description="scales the whole preset: 0 no augmentation, 1 the preset, 2 double"
    )

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in self.ranges:
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name} must ascend: write [{bounds[1]}, {bounds[0]}]")
        return self
