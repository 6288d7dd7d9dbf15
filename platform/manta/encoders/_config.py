"""Settings of an encoder, and the registry of those that are not timm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from manta.encoders._protocols import Encoder
from manta.registry import Registry


class EncoderConfig(BaseModel):
    """Settings of the backbone.

    Attributes:
        of_name: fields that belong to the model of this name, and are dropped with it.
    """

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    of_name: ClassVar[tuple[str, ...]] = ("args",)

    name: str = Field("resnet18", description="a timm model, or a registered encoder")
    stem: Literal["default", "small"] = Field(
        "default",
        description="small suits images of 32 to 64 px: a 3x3 stride-1 stem without max-pool for "
        "convolutional networks, patches of an eighth of the image for transformers; "
        "default leaves the model as timm has it",
    )
    pretrained: bool = Field(
        False, description="start from timm's weights (needs the hub or its cache)"
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the model, for timm.create_model"
    )


EncoderFactory = Callable[[EncoderConfig, int], Encoder]
FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of `timm.create_model` by which an experiment could make it unpickle any file."""
ENCODERS: Registry[EncoderFactory] = Registry("encoders", "manta.encoders")
"""Registry of factories `(config, image_size) -> Encoder`; timm models need no entry."""
