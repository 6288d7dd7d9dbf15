"""Losses on the statistics of a batch: correlations, variances, covariances.

With several ranks each passes its own rows, and `average`, which averages a statistic over ranks
and carries gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision

Average = Callable[[Tensor], Tensor]
"""A function that averages a statistic over ranks."""


def identity(statistic: Tensor) -> Tensor:
    """Return the statistic unchanged: the `Average` of a single process."""
    return statistic


def barlow_twins(z_a: Tensor, z_b: Tensor, *, lambda_: float) -> Tensor:
    """Return the distance of the cross-correlation matrix from the identity.

    Zbontar et al. 2021, Barlow Twins, eq. 1.
    """
    terms = barlow_twins_terms(cross_correlation(z_a, z_b))
    return terms.invariance + lambda_ * terms.redundancy


class BarlowTwinsTerms(NamedTuple):
    """The two sums of eq. 1, without lambda."""

    invariance: Tensor
    redundancy: Tensor


@full_precision
def barlow_twins_terms(correlation: Tensor) -> BarlowTwinsTerms:
    """Return both terms of a cross-correlation `[D, D]`."""
    return BarlowTwinsTerms(
        (1 - correlation.diagonal()).square().sum(), _off_diagonal(correlation).square().sum()
    )


@full_precision
def cross_correlation(
    z_a: Tensor, z_b: Tensor, *, average: Average = identity, eps: float = 1e-8
) -> Tensor:
    """Return the cross-correlation of two views, `[N, D], [N, D] -> [D, D]`.

    Each dimension is standardised over the batch (Zbontar et al. 2021, eq. 2), with 1/N throughout.
    A dimension without variance correlates with nothing: its row and column are 0.
    """
    check_pair(z_a, z_b)
    z = torch.stack([z_a, z_b])
    z = z - average(z.mean(1, keepdim=True))
    a, b = z * torch.rsqrt(average(z.square().mean(1, keepdim=True)) + eps)
    return average(a.T @ b / len(a))


def vicreg(
    z_a: Tensor, z_b: Tensor, *, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Return the weighted variance-invariance-covariance regularisation of two views.

    Bardes et al. 2022, VICReg, eq. 6.
    """
    terms = vicreg_terms(z_a, z_b)
    return invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance


class VICRegTerms(NamedTuple):
    """The three terms of eq. 6, without weights; those of the two views are added."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


@full_precision
def vicreg_terms(
    z_a: Tensor, z_b: Tensor, *, average: Average = identity, ranks: int = 1, eps: float = 1e-4
) -> VICRegTerms:
    """Return the three terms, scaled as in the paper's algorithm 1.

    Invariance is the mean square over samples and dimensions, of this rank's rows. Variance is the
    hinge at a standard deviation of 1, `sqrt(var + eps)`, mean over dimensions. Covariance is the
    sum of squares off the diagonal over D. Variances and covariances are unbiased, 1/(n - 1), with
    n the rows of all `ranks`.
    """
    check_pair(z_a, z_b)
    samples = len(z_a) * ranks
    if samples < 2:
        raise ConfigError("variances need at least 2 samples in a batch; raise train.batch_size")
    z = torch.stack([z_a, z_b])
    centred = z - average(z.mean(1, keepdim=True))
    moments = average(centred.mT @ centred / len(z_a)) * (samples / (samples - 1))
    deviations = (moments.diagonal(dim1=1, dim2=2) + eps).sqrt()
    return VICRegTerms(
        invariance=(z_a - z_b).square().mean(),
        variance=(1 - deviations).relu().mean(1).sum(),
        covariance=_off_diagonal(moments).square().sum() / z.shape[2],
    )


def _off_diagonal(matrix: Tensor) -> Tensor:
    """Return `[..., D, D]` with zeros on the diagonal."""
    diagonal = torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(diagonal, 0.0)
