"""Canonical correlation analysis as a loss. Over many ranks as in `redundancy`: own rows, `average`
over ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, alone


class SSLEYTerms(NamedTuple):
    """tr(C) and tr(V V) of the loss."""

    shared: Tensor
    size: Tensor

    @property
    def loss(self) -> Tensor:
        return -2 * self.shared + self.size

    @property
    def captured(self) -> Tensor:
        """`tr(C)^2 / tr(V V)`, 0 where tr(C) is negative: minus the loss at the embeddings' best
        scale.

        At most the sum of squares of the correlations, by Cauchy-Schwarz, and that where the loss
        is least; so between 0 and D. It needs no decomposition, nor more samples than dimensions.
        """
        return self.shared.clamp_min(0).square() / self.size.clamp_min(
            torch.finfo(self.size.dtype).tiny
        )


def ssl_ey(z_a: Tensor, z_b: Tensor, *, average: Average = alone, ranks: int = 1) -> Tensor:
    """The Eckart-Young loss `-2 tr(C) + tr(V V)` of two views (Chapman et al. 2024, SSL-EY).

    C = Cov(a, b) + Cov(b, a) and V = Var(a) + Var(b), unbiased with n the rows of all `ranks`. Over
    all linear maps of the embeddings it is least at minus the sum of squares of the eigenvalues of
    C w = lambda V w, the correlations that one map for both views can have: -D at best, where the
    views are equal and of covariance I/2. Constant embeddings have 0. The signs matter: with both
    flipped, as in one public copy, it falls without end as embeddings grow.
    """
    return ssl_ey_terms(z_a, z_b, average=average, ranks=ranks).loss


@full_precision
def ssl_ey_terms(
    z_a: Tensor, z_b: Tensor, *, average: Average = alone, ranks: int = 1
) -> SSLEYTerms:
    """Both traces of `ssl_ey`."""
    check_pair(z_a, z_b)
    samples = len(z_a) * ranks
    if samples < 2:
        raise ConfigError("covariances need at least 2 samples in a batch; raise train.batch_size")
    z = torch.stack([z_a, z_b])
    a, b = z - average(z.mean(1, keepdim=True))
    unbiased = samples / (samples - 1)
    crossed = average((a * b).mean(0)) * unbiased
    within = average((a.T @ a + b.T @ b) / len(a)) * unbiased
    return SSLEYTerms(shared=2 * crossed.sum(), size=within.square().sum())
