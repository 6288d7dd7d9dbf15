"""Checks of shapes that torch would broadcast in silence."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.errors import ConfigError


def check_pair(first: Tensor, second: Tensor) -> None:
    """Raise ConfigError unless both are `[N, D]` of one shape, as torch would broadcast others."""
    if first.ndim != 2 or first.shape != second.shape:
        raise ConfigError(
            "two views' embeddings must be of one shape [N, D], "
            f"not {tuple(first.shape)} and {tuple(second.shape)}"
        )


def own_rows(anchors: Tensor, keys: Tensor, offset: int) -> Tensor:
    """Return `[N, M]` bool, True where key `offset + i` is anchor i itself.

    `offset` is the place of this rank's first row among all ranks' rows.

    Raises:
        ConfigError: some anchor is not among the keys; it would be compared with itself.
    """
    if not 0 <= offset <= len(keys) - len(anchors):
        raise ConfigError(
            f"{len(anchors)} rows from row {offset} on are not among {len(keys)} keys"
        )
    places = torch.arange(offset, offset + len(anchors), device=anchors.device)
    return places[:, None] == torch.arange(len(keys), device=anchors.device)
