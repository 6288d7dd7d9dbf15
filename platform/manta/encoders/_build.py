"""Encoders by name: any timm model, or what a user's package registered."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manta.encoders._protocols import Encoder
from manta.errors import ConfigError
from manta.registry import Registry


class EncoderConfig(BaseModel):
    """Which backbone.

    Attributes:
        name: a timm model name, or a registered encoder.
        stem: "small" suits images of 32 to 64 px: a 3x3 stride-1 stem without max-pool for convolutional networks,
            patches of an eighth of the image for transformers. "default" leaves the model as timm has it.
        pretrained: start from timm's weights (needs the hub or its cache).
        args: further keyword arguments for `timm.create_model`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str = "resnet18"
    stem: Literal["default", "small"] = "default"
    pretrained: bool = False
    args: dict[str, Any] = Field(default_factory=dict)


EncoderFactory = Callable[[EncoderConfig, int], Encoder]
FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of `timm.create_model` by which an experiment could have it unpickle a file of its author's choice."""
ENCODERS: Registry[EncoderFactory] = Registry("encoders", "manta.encoders")
"""Name -> factory `(config, image_size) -> Encoder`. timm models need no entry."""


def build(config: EncoderConfig, *, image_size: int) -> Encoder:
    """The encoder, freshly initialised from torch's global generator.

    Raises:
        ConfigError: no such encoder, arguments that it refuses, or one that names a file of weights.
    """
    if config.name in ENCODERS:
        return ENCODERS[config.name](config, image_size)
    if config.name not in _timm_names():
        near = difflib.get_close_matches(config.name, _timm_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `manta list encoders`"
        raise ConfigError(f"encoder.name: timm has no model {config.name!r}; {hint}")
    for argument in FILES:
        if argument in config.args:
            raise ConfigError(
                f"encoder.args.{argument} names files that timm would load, and could unpickle; leave it out, and set "
                "encoder.pretrained=true for timm's own weights"
            )
    from manta.encoders.timm import TimmEncoder

    return TimmEncoder.create(config, image_size=image_size)


def names() -> Iterator[str]:
    """Every encoder that `encoder.name` takes."""
    yield from ENCODERS
    yield from _timm_names()


@lru_cache(maxsize=1)
def _timm_names() -> tuple[str, ...]:
    import timm

    return tuple(timm.list_models())
