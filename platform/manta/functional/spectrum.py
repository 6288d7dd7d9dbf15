"""Label-free measures of how much of its space a set of features uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7
"""RankMe's epsilon, added for singular values of zero."""
LEAST_POINTS = 3
"""Smallest number of eigenvalues to which a power law is fitted."""


def rankme(features: Tensor) -> float:
    """Return the effective rank of `[N, D]` features, between 1 and min(N, D).

    It is the exponential of the entropy of the normalised singular values; NaN where a feature is
    not finite. Garrido et al. 2023, "RankMe", equation 1.
    """
    if not bool(features.isfinite().all()):
        # The decomposition would raise.
        return float("nan")
    singular = torch.linalg.svdvals(features.detach().double())
    p = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny) + EPSILON
    return float(torch.exp(-(p * p.log()).sum()))


def alpha_req(features: Tensor, *, first: int = 4, last: int = 100) -> float:
    """Return the alpha of a power law lambda_i ~ i^-alpha fitted to the eigenspectrum of `[N, D]`.

    Best near 1: below it noise is spread over many dimensions, above it few dimensions carry
    everything. Agrawal et al. 2022, "alpha-ReQ".

    The paper fixes the covariance of the features and the line fitted to its eigenvalues in
    log-log. It does not fix the range and the weights, which change the number; ranks 4 to 100 with
    weights 1 / i (Stringer et al. 2019) are those of copies of its authors' code. The few largest
    eigenvalues often lie off the line. Without weights the tail, where ranks are dense in log scale
    and estimates poor, would dominate.

    Args:
        first, last: ranks of the eigenvalues that are fitted, from 1, both included; fewer where
            fewer are not zero.

    Returns:
        NaN where a feature is not finite, or fewer than three eigenvalues in the range are not
        zero.
    """
    if not bool(features.isfinite().all()):
        return float("nan")
    features = features.detach().double()
    # The covariance's eigenvalues but for a factor, which does not change the slope.
    eigenvalues = gram_spectrum(features - features.mean(0))
    zero = eigenvalues[0] * max(features.shape) * torch.finfo(eigenvalues.dtype).eps
    fitted = eigenvalues[eigenvalues > zero][first - 1 : last]
    if len(fitted) < LEAST_POINTS:
        return float("nan")
    rank = torch.arange(first, first + len(fitted), dtype=fitted.dtype, device=fitted.device)
    weight = 1 / (rank * (1 / rank).sum())
    x, y = rank.log(), fitted.log()
    x = x - (weight * x).sum()
    return float(-(weight * x * y).sum() / (weight * x.square()).sum())


def lidar(features: Tensor, *, delta: float = 1e-4) -> float:
    """Return the effective rank of the discriminant analysis between samples' views.

    The `[N, Q, D]` features are those of Q augmented views of N samples; the rank lies between 1
    and
    min(N - 1, D). Thilak et al. 2024, "LiDAR". It counts the directions in which samples differ by
    more than
    augmentation moves them: the exponential of the entropy of the normalised eigenvalues of
    `Sw^-1/2 Sb Sw^-1/2`, where Sb is the covariance of the samples' mean features, and Sw that of
    features around their sample's mean (over N (Q - 1)), plus delta on the diagonal. The scale of
    Sb cancels; that of Sw, hence of the features, matters against delta.

    Args:
        delta: positive; the paper's is 1e-4.

    Returns:
        NaN where a feature is not finite.

    Raises:
        ValueError: fewer than two views.
    """
    samples, views, _ = features.shape
    if views < 2:
        raise ValueError(f"LiDAR needs two views of each sample or more, not {views}")
    if not bool(features.isfinite().all()):
        return float("nan")
    features = features.detach().double()
    means = features.mean(1)
    around = (features - means[:, None]).flatten(0, 1)
    variances, axes = torch.linalg.eigh(around.T @ around / (samples * (views - 1)))
    whitened = (means - means.mean(0)) @ axes * (variances.clamp_min(0) + delta).rsqrt()
    eigenvalues = gram_spectrum(whitened)
    p = eigenvalues / eigenvalues.sum().clamp_min(torch.finfo(eigenvalues.dtype).tiny)
    # entr(0) is 0, so that the paper's epsilon is not needed.
    return float(torch.special.entr(p).sum().exp())


def feature_std(features: Tensor) -> float:
    """Return the mean standard deviation of L2-normalised `[N, D]` features, times sqrt(D).

    The mean is over dimensions: 0 when all features are one vector, near 1 when they are spread
    over the sphere. Chen & He 2021, "SimSiam", section 4.1.
    """
    unit = F.normalize(features.detach().float(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * features.shape[1] ** 0.5)


def gram_spectrum(x: Tensor) -> Tensor:
    """Return the min(N, D) largest eigenvalues of `x.T @ x` for `[N, D]`, in falling order.

    They are computed from the smaller of the two Gram matrices.
    """
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
    return eigenvalues.flip(0).clamp_min(0)


__all__ = ["alpha_req", "feature_std", "lidar", "rankme"]
