"""Uniformity: how evenly a batch is spread over the sphere.

It is one logarithm around the mean over all pairs of samples. With several ranks each passes its
own rows, every rank's as keys (as in `contrastive`), and `average`, which averages a statistic over
ranks and carries gradients. Every rank then returns the same value, that of the global batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.functional._precision import full_precision
from manta.functional.contrastive import compare_all
from manta.functional.redundancy import Average, identity


@full_precision
def uniformity(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: float,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
    average: Average = identity,
) -> Tensor:
    """Return the log of the mean of `exp(cosine / temperature)` over pairs of different samples.

    Pairs are ordered, and of any views.

    The uniformity term of UniSiam (Lu et al. 2022): an anchor has 2M - 2 negatives, and there are
    2M anchors. It is 0 where all are orthogonal and `1 / temperature` where all are alike.

    Args:
        z_a, z_b: `[N, D]`, this rank's rows of the two views.
        keys_a, keys_b: `[M, D]`, every rank's; None: `z_a, z_b`.
        offset: place of this rank's first row among the keys.
        average: over ranks; needed with keys of other ranks, since the mean of logarithms is
            another thing.
    """
    negatives = compare_all(z_a, z_b, keys_a, keys_b, offset).negatives / temperature
    rows, keys = negatives.shape
    log_mean = torch.logsumexp(negatives.flatten(), dim=0) - math.log(rows * (keys - 2))
    # The same on every rank, and near each rank's own value, so that nothing overflows.
    shift = average(log_mean.detach())
    return average((log_mean - shift).exp()).log() + shift
