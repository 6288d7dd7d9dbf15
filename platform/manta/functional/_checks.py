"""What torch would let pass in silence."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.errors import ConfigError


def check_pair(first: Tensor, second: Tensor) -> None:
    """Raises ConfigError unless both are `[N, D]` of one shape; torch would broadcast many that are
    not."""
    if first.ndim != 2 or first.shape != second.shape:
        raise ConfigError(
            f"two views' embeddings must be of one shape [N, D], not {tuple(first.shape)} and {tuple(second.shape)}"
        )


def own_rows(anchors: Tensor, keys: Tensor, offset: int) -> Tensor:
    """`[N, M]` bool: anchor i is key `offset + i` itself, where a rank's rows begin among all
    ranks'.

    Raises:
        ConfigError: some anchor is not among the keys; it would be compared with itself unnoticed.
    """
    if not 0 <= offset <= len(keys) - len(anchors):
        raise ConfigError(
            f"{len(anchors)} rows from row {offset} on are not among {len(keys)} keys"
        )
    places = torch.arange(offset, offset + len(anchors), device=anchors.device)
    return places[:, None] == torch.arange(len(keys), device=anchors.device)
