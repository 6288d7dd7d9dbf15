"""What torch would let pass in silence."""

from __future__ import annotations

from torch import Tensor

from manta.errors import ConfigError


def check_pair(first: Tensor, second: Tensor) -> None:
    """Raises ConfigError unless both are `[N, D]` of one shape; torch would broadcast many that are not."""
    if first.ndim != 2 or first.shape != second.shape:
        raise ConfigError(
            f"two views' embeddings must be of one shape [N, D], not {tuple(first.shape)} and {tuple(second.shape)}"
        )
