"""How much of its space a set of features uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7
"""RankMe's epsilon, for singular values of zero."""


def rankme(features: Tensor) -> float:
    """The effective rank of `[N, D]` features, between 1 and min(N, D): the exponential of the entropy of the
    normalised singular values; NaN where a feature is not finite. Garrido et al. 2023, "RankMe", equation 1."""
    if not bool(features.isfinite().all()):
        return float("nan")  # the decomposition would raise
    singular = torch.linalg.svdvals(features.detach().double())
    p = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny) + EPSILON
    return float(torch.exp(-(p * p.log()).sum()))


def feature_std(features: Tensor) -> float:
    """The mean over dimensions of the standard deviation of L2-normalised `[N, D]` features, times sqrt(D): 0 when
    all features are one vector, near 1 when they are spread over the sphere. Chen & He 2021, "SimSiam", section 4.1."""
    unit = F.normalize(features.detach().float(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5)


__all__ = ["feature_std", "rankme"]
