"""Losses on mixtures of samples.

With several ranks, as in `redundancy`: each passes its own rows, and `average` over ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, identity


@full_precision
def mixed_correlation(
    z_mixed: Tensor,
    z_a: Tensor,
    z_b: Tensor,
    z_partner: Tensor,
    *,
    share: float,
    average: Average = identity,
    eps: float = 1e-8,
) -> Tensor:
    """Return how far mixtures' correlations with both views differ from those of mixed embeddings.

    Bandara et al. 2023. With M the embeddings of `share * view a + (1 - share) * a partner's view
    b`, standardised over the batch as the others are, and P the partners' rows of B: the sum of
    squares of `C(M, A) - share C(A, A) - (1 - share) C(P, A)` plus that of `C(M, B) - share C(A, B)
    - (1 - share) C(P, B)`, C being Barlow Twins' cross-correlation. As these are linear in M, only
    the residual's correlations are computed. A dimension without variance is 0 when standardised.

    Args:
        z_mixed, z_a, z_b, z_partner: `[N, D]`; over all ranks z_partner is a permutation of z_b.
    """
    for other in (z_mixed, z_b, z_partner):
        check_pair(z_a, other)
    z = torch.stack([z_mixed, z_a, z_b, z_partner])
    z = z - average(z.mean(1, keepdim=True))
    mixed, a, b, partner = z * torch.rsqrt(average(z.square().mean(1, keepdim=True)) + eps)
    residual = mixed - (share * a + (1 - share) * partner)
    return average(residual.T @ torch.cat([a, b], dim=1) / len(a)).square().sum()
