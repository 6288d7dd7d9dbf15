"""Optimal transport by Sinkhorn's iterations: balanced assignments of samples to prototypes.

With several ranks each passes its own rows, and `total`, which sums a statistic over ranks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from manta.functional._precision import full_precision
from manta.functional.redundancy import identity

Total = Callable[[Tensor], Tensor]


@full_precision
def sinkhorn(
    cosines: Tensor, *, epsilon: float, iterations: int, total: Total = identity
) -> Tensor:
    """Return codes `[N, K]` of cosines with K prototypes that are all used alike; rows sum to 1.

    Caron et al. 2020, SwAV, eq. 3 to 5. Codes are targets, so the caller stops the gradient.

    `Diag(u) exp(cosines / epsilon) Diag(v)`, near the one whose prototypes all have the same share
    of the samples; a sample's own sum comes last, as in the paper's listing.

    Args:
        cosines: within [-1, 1]; this rank's rows.
        epsilon: weight of the entropy: the smaller, the harder the codes. 0.01 or more, so that no
            sum is 0.
        iterations: over prototypes and samples; 3 in the paper.
    """
    # At most 1 in float64, where e^(-2 / 0.01) is still a number: the raw exponentials overflow or
    # vanish in float32.
    codes = torch.exp((cosines.double() - 1) / epsilon)
    for _ in range(iterations):
        codes = codes / total(codes.sum(0))
        codes = codes / codes.sum(1, keepdim=True)
    return codes.to(cosines.dtype)


@full_precision
def log_matching(affinity: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Return the log of a matrix `[N, N]` with row and column sums 1, near the best assignment.

    Cuturi 2013; it carries gradients.

    Args:
        affinity: `[N, N]`, the larger the better.
        epsilon: weight of the entropy: the smaller, the nearer to a permutation.
        iterations: over rows and columns; the columns' sums, which come last, are exact.
    """
    log = affinity / epsilon
    for _ in range(iterations):
        log = log - torch.logsumexp(log, dim=1, keepdim=True)
        log = log - torch.logsumexp(log, dim=0, keepdim=True)
    return log
