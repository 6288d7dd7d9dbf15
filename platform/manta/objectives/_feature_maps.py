"""A pooled vector and a feature map from one forward pass, of any kind of encoder."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor

from manta.encoders import Encoder, PyramidEncoder, TokenEncoder
from manta.errors import ConfigError
from manta.ragged import Data


class PooledAndMap(NamedTuple):
    """Output of an encoder for some views.

    Attributes:
        pooled: `[N, D]`.
        map: `[N, C, *space]`.
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


def pooled_and_map(encoder: Encoder, x: Data) -> PooledAndMap:
    """Return pooled vector and map of views `[N, C, *space]`; the encoder must pass `map_dim`.

    Raises:
        ConfigError: the samples have lengths of their own, so there is no map of all of them.
    """
    if not isinstance(x, Tensor):
        raise ConfigError(
            "objective.name: this method needs maps of one size, and the samples of data.modality "
            "have lengths of their own; choose another one"
        )
    if isinstance(encoder, TokenEncoder):
        tokens = encoder.tokens(x)
        cells = [side // patch for side, patch in zip(x.shape[2:], encoder.patch_size, strict=True)]
        patches = tokens[:, encoder.prefix_tokens :].mT
        return PooledAndMap(encoder.pool(tokens), patches.reshape(*patches.shape[:2], *cells))
    if isinstance(encoder, PyramidEncoder):
        maps, pooled = encoder.stage_maps(x)
        return PooledAndMap(pooled, maps[-1])
    raise ConfigError("this encoder gives no feature map")


def pooled_cells(maps: Tensor, cells: int) -> Tensor:
    """Return maps `[N, C, *space]` of 1 to 3 axes, averaged to at most `cells` along each axis."""
    sizes = maps.shape[2:]
    pools: tuple[Any, ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    return cast(Tensor, pools[len(sizes) - 1](maps, min([cells, *sizes])))
