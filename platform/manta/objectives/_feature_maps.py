"""A pooled vector and a feature map from one forward pass, of any kind of encoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from manta.encoders import Encoder, PyramidEncoder, TokenEncoder
from manta.errors import ConfigError


class PooledAndMap(NamedTuple):
    """Output of an encoder for some views.

    Attributes:
        pooled: `[N, D]`.
        map: `[N, C, h, w]`.
    """

    pooled: Tensor
    map: Tensor


def map_dim(encoder: Encoder, method: str) -> int:
    """Return C, the channels of the encoder's feature map.

    Raises:
        ConfigError: the encoder gives no map beside its pooled vector.
    """
    if isinstance(encoder, TokenEncoder):
        return encoder.embed_dim
    if isinstance(encoder, PyramidEncoder):
        return encoder.stage_dims[-1]
    raise ConfigError(
        f"objective.name={method} needs an encoder with a feature map, "
        "such as encoder.name=resnet18 or a transformer"
    )


def pooled_and_map(encoder: Encoder, x: Tensor) -> PooledAndMap:
    """Return pooled vector and map of views `[N, C, H, W]`; the encoder must pass `map_dim`."""
    if isinstance(encoder, TokenEncoder):
        tokens = encoder.tokens(x)
        height, width = encoder.patch_size
        grid = (x.shape[-2] // height, x.shape[-1] // width)
        patches = tokens[:, encoder.prefix_tokens :].mT
        return PooledAndMap(encoder.pool(tokens), patches.reshape(*patches.shape[:2], *grid))
    if isinstance(encoder, PyramidEncoder):
        maps, pooled = encoder.stage_maps(x)
        return PooledAndMap(pooled, maps[-1])
    raise ConfigError("this encoder gives no feature map")
