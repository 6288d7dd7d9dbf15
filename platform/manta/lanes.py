"""Lanes: equal parts of a global batch, each of which one rank has whole."""

from __future__ import annotations

import math

LANES = 8
"""Lanes of a batch where its size allows it."""


def lane_count(batch: int, ranks: int) -> int:
    """Return the number of lanes of a global batch, of which each rank has equally many.

    It is 8 for every number of ranks that divides 8, if 8 divides the batch.

    Args:
        batch: rows over all ranks, a multiple of `ranks`.
    """
    common = math.lcm(LANES, ranks)
    if batch % common == 0:
        return common
    fitting = [n for n in range(ranks, LANES + 1, ranks) if batch % n == 0]
    return fitting[-1] if fitting else ranks
