"""How features lie in their space: numbers that need no labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.spectrum import gram_spectrum


def nesum(features: Tensor) -> float:
    """How many dimensions share the variance of `[N, D]` features: the sum of the covariance's
    eigenvalues over the largest, between 1 (collapsed to a line) and min(N - 1, D) (whitened); 0
    where nothing varies, and NaN where a feature is not finite. He & Ozay 2022, "Exploring the Gap
    between Collapsed & Whitened Features in Self-Supervised Learning"."""
    if not bool(features.isfinite().all()):
        return float("nan")
    features = features.detach().double()
    centred = features - features.mean(0)
    size = features.square().sum()
    eigenvalues = gram_spectrum(centred)  # of the covariance but for a factor, which cancels
    if bool(eigenvalues[0] <= size * torch.finfo(size.dtype).eps):
        return 0.0  # what is left of features that are all alike is rounding
    return float(eigenvalues.sum() / eigenvalues[0])


def alignment(views: Tensor, *, alpha: float = 2.0) -> float:
    """How near the views of a sample are: the mean of `|x - y|^alpha` over all pairs of its views,
    of `[N, V, D]` features that are L2-normalised here. Lower is better; 0 to 2^alpha. Wang & Isola
    2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", section 4.1.1 (unnumbered).

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
    """How evenly `[N, D]` features cover the sphere: the log of the mean of `exp(-t |x - y|^2)`
    over pairs of different rows, which are L2-normalised here. Lower is better; -4t to 0. Wang &
    Isola 2020, section 4.1.2 (unnumbered).

    The cost is quadratic in N, the memory `chunk * N`.

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
