"""What encoders of sequences have in common: settings, padding of ragged rows, masked pooling."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from manta.encoders._config import EncoderConfig
from manta.errors import ConfigError
from manta.ragged import Ragged

A = TypeVar("A", bound="SequenceArgs")


class SequenceArgs(BaseModel):
    """Base of the settings in `encoder.args`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def args_of(config: EncoderConfig, kind: type[A]) -> A:
    """Return the settings in `encoder.args`.

    Raises:
        ConfigError: one of them is unknown or out of range.
    """
    if config.pretrained:
        raise ConfigError(f"encoder.pretrained: there are no weights of {config.name}; set false")
    try:
        return kind.model_validate(config.args)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("encoder.args", *first["loc"])))
        raise ConfigError(f"{where}: {first['msg']}") from None


def padded(x: Tensor | Ragged) -> tuple[Tensor, Tensor | None]:
    """Return `[N, C, T]`, and `[N, T]` bool where there are values; None where everywhere."""
    if not isinstance(x, Ragged):
        return x, None
    values, there = x.padded()
    return values.transpose(1, 2), there


def kept(frames: Tensor, there: Tensor | None) -> Tensor:
    """Return frames `[N, D, T]` with zeros where there are no values.

    Before each convolution, so that the end of a row is to it what the end of the tensor is.
    """
    return frames if there is None else frames * there.unsqueeze(1).to(frames.dtype)


def mean_pooled(frames: Tensor, there: Tensor | None) -> Tensor:
    """Return the mean over time, `[N, D, T] -> [N, D]`."""
    if there is None:
        return frames.mean(2)
    count = there.sum(1, keepdim=True).clamp(min=1).to(frames.dtype)
    return kept(frames, there).sum(2) / count


def max_pooled(frames: Tensor, there: Tensor | None) -> Tensor:
    """Return the maximum over time, `[N, D, T] -> [N, D]`."""
    if there is not None:
        frames = frames.masked_fill(~there.unsqueeze(1), float("-inf"))
    return frames.amax(2)


def sines(count: int, dim: int, device: torch.device) -> Tensor:
    """Return fixed positions, `[count, dim]`."""
    place = torch.arange(count, device=device, dtype=torch.float32).unsqueeze(1)
    steps = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    angles = place * torch.exp(-math.log(10_000) / dim * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
