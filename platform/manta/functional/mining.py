"""Mined views: other samples used as views of a sample."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import own_rows
from manta.functional._precision import full_precision


@full_precision
def nearest_others(queries: Tensor, pool: Tensor, *, k: int, offset: int = 0) -> Tensor:
    """Return `[N, k]` int64, the rows of `pool: [M, D]` with the largest cosines, largest first.

    Args:
        queries: `[N, D]`; query i is row `offset + i` of the pool, which is not its own neighbour.
    """
    if not 1 <= k < len(pool):
        raise ConfigError(
            f"no {k} neighbours are among {len(pool) - 1} other samples; raise train.batch_size"
        )
    cosines = F.normalize(queries, dim=1) @ F.normalize(pool, dim=1).T
    return cosines.masked_fill(own_rows(queries, pool, offset), -math.inf).topk(k, dim=1).indices


@full_precision
def with_mined(augmented: Tensor, mined: Tensor, *, weight: float) -> Tensor:
    """Return MYOW's total loss, `(augmented + weight * mined) / (1 + weight)`.

    Azabou et al. 2021; the division by 1 + weight is that of its code.
    """
    return (augmented + weight * mined) / (1 + weight)
