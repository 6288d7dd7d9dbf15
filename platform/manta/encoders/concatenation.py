"""Several encoders side by side: what one of them forgot, another may hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from manta.encoders._build import build
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError
from manta.spec import ANY_FORM, Form, Spec

NAME = "concatenation"


class ConcatenationArgs(BaseModel):
    """Settings in `encoder.args` of a `concatenation`; `pretrained` is that of the whole."""

    model_config = ConfigDict(extra="forbid")
    encoder: EncoderConfig = Field(description="settings of each part")
    count: int = Field(ge=1, description="how many parts")


class Concatenation(Encoder):
    """The pooled vectors of all parts, concatenated: `[N, the sum of their D]`.

    A part without trainable parameters stays in evaluation mode.
    """

    takes: tuple[Form, ...] = (ANY_FORM,)

    def __init__(self, parts: Sequence[Encoder]) -> None:
        super().__init__()
        self.takes = parts[0].takes
        self.embed_dim = sum(part.embed_dim for part in parts)
        self.parts = nn.ModuleList(parts)
        self.train(any(part.training for part in parts))

    def train(self, mode: bool = True) -> Concatenation:
        super().train(mode)
        for part in self.parts:
            part.train(mode and any(parameter.requires_grad for parameter in part.parameters()))
        return self

    def embed(self, x: Any) -> Tensor:
        return torch.cat([part(x) for part in self.parts], dim=1)


@ENCODERS.register(NAME)
def concatenation(config: EncoderConfig, spec: Spec) -> Concatenation:
    """Build several encoders of one kind whose vectors are joined to one.

    Raises:
        ConfigError: an argument means nothing here, or a part cannot be built.
    """
    if config.stem != "default":
        raise ConfigError(f"encoder.stem: a {NAME} has none; set encoder.args.encoder.stem")
    try:
        args = ConcatenationArgs.model_validate(config.args)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"encoder.args.{place}: {first['msg']}") from None
    part = args.encoder
    if not (isinstance(part.pretrained, str) and config.pretrained):
        part = part.model_copy(update={"pretrained": config.pretrained})
    return Concatenation([build(part, spec) for _ in range(args.count)])


def config_of(encoder: Encoder, config: EncoderConfig) -> EncoderConfig:
    """Return the config that builds `encoder`, given the one that built it or each of its parts."""
    if not isinstance(encoder, Concatenation) or config.name == NAME:
        return config
    args = ConcatenationArgs(encoder=config, count=len(encoder.parts))
    return EncoderConfig(name=NAME, pretrained=config.pretrained, args=args.model_dump(mode="json"))
