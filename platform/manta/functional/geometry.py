"""Label-free measures of how features lie in their space."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.spectrum import gram_spectrum


def nesum(features: Tensor) -> float:
    """Return the number of dimensions that share the variance of `[N, D]` features.

    It is the sum of the covariance's eigenvalues over the largest: between 1 (collapsed to a line)
    and min(N - 1, D) (whitened); 0 where nothing varies, and NaN where a feature is not finite. He
    & Ozay 2022, "Exploring the Gap between Collapsed & Whitened Features in Self-Supervised
    Learning".
    """
    if not bool(features.isfinite().all()):
        return float("nan")
    features = features.detach().double()
    centred = features - features.mean(0)
    size = features.square().sum()
    # The covariance's eigenvalues but for a factor, which cancels.
    eigenvalues = gram_spectrum(centred)
    # The variance of features that are all equal is rounding error, not 0.
    if bool(eigenvalues[0] <= size * torch.finfo(size.dtype).eps):
        return 0.0
    return float(eigenvalues.sum() / eigenvalues[0])


def alignment(views: Tensor, *, alpha: float = 2.0) -> float:
    """Return the mean of `|x - y|^alpha` over all pairs of a sample's views; lower is better.

    The `[N, V, D]` features are L2-normalised here, so the result lies in 0 to 2^alpha. Wang &
    Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity
    on the Hypersphere", section 4.1.1 (unnumbered).

    Raises:
        ConfigError: fewer than two views.
    """
    count = views.shape[1]
    if count < 2:
        raise ConfigError(
            f"alignment compares views of a sample: there must be two or more, not {count}"
        )
    unit = F.normalize(views.detach().double(), dim=2)
    pairs = [(unit[:, i] - unit[:, j]).norm(dim=1) for i in range(count) for j in range(i)]
    return float(torch.stack(pairs).pow(alpha).mean())


def hypersphere_uniformity(features: Tensor, *, t: float = 2.0, chunk: int = 1024) -> float:
    """Return the log of the mean of `exp(-t |x - y|^2)` over pairs of rows; lower is better.

    It says how evenly `[N, D]` features, which are L2-normalised here, cover the sphere: -4t to 0,
    over pairs of different rows. Wang & Isola 2020, section 4.1.2 (unnumbered). The cost is
    quadratic in N, the memory `chunk * N`.

    Raises:
        ConfigError: fewer than two rows.
    """
    rows = len(features)
    if rows < 2:
        raise ConfigError(f"uniformity compares rows: there must be two or more, not {rows}")
    unit = F.normalize(features.detach().double(), dim=1)
    parts = []
    for start in range(0, rows, chunk):
        exponents = 2 * t * (unit[start : start + chunk] @ unit.T - 1)
        exponents.diagonal(offset=start).fill_(-math.inf)
        parts.append(exponents.flatten().logsumexp(0))
    return float(torch.stack(parts).logsumexp(0)) - math.log(rows * (rows - 1))


__all__ = ["alignment", "hypersphere_uniformity", "nesum"]
