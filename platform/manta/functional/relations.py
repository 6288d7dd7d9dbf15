"""A binary question about pairs: do two embeddings belong to one sample?"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision

Aggregation = Literal["cat", "sum", "mean", "max"]


def aggregate(first: Tensor, second: Tensor, how: Aggregation) -> Tensor:
    """Return one vector for each pair: `[N, D], [N, D] -> [N, D]`, or `[N, 2D]` for "cat".

    Patacchiola & Storkey 2020.
    """
    check_pair(first, second)
    if how == "cat":
        return torch.cat([first, second], dim=1)
    if how == "max":
        return torch.maximum(first, second)
    return (first + second) / (2 if how == "mean" else 1)


@full_precision
def focal_bce(logits: Tensor, related: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Return the mean focal binary cross-entropy, `-alpha_t (1 - p_t)^gamma log p_t`.

    Lin et al. 2017, eq. 5.

    Args:
        logits: `[N]`.
        related: `[N]` bool.
        gamma: how much less an easy pair counts; 0 is the plain cross-entropy.
        alpha: weight of the related pairs; that of the others is `1 - alpha`.
    """
    right = torch.where(related, logits, -logits)  # p_t is its sigmoid
    weight = torch.where(related, alpha, 1 - alpha)
    return (weight * torch.sigmoid(-right).pow(gamma) * F.softplus(-right)).mean()
