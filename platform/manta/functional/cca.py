"""Canonical correlation analysis as a loss.

With several ranks, as in `redundancy`: each passes its own rows, and `average` over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, identity


class SSLEYTerms(NamedTuple):
    """The traces of the Eckart-Young loss: `shared` is tr(C), `size` is tr(V V)."""

    shared: Tensor
    size: Tensor

    @property
    def loss(self) -> Tensor:
        """Return `-2 tr(C) + tr(V V)`."""
        return -2 * self.shared + self.size

    @property
    def captured(self) -> Tensor:
        """Return `tr(C)^2 / tr(V V)`: minus the loss at the embeddings' best scale, or 0.

        It is 0 where tr(C) is negative. By Cauchy-Schwarz it is at most the sum of squares of the
        canonical correlations, and equal to it where the loss is least; so it lies between 0 and D.
        It takes no decomposition, and no more samples than dimensions.
        """
        smallest = torch.finfo(self.size.dtype).tiny
        return self.shared.clamp_min(0).square() / self.size.clamp_min(smallest)


def ssl_ey(z_a: Tensor, z_b: Tensor, *, average: Average = identity, ranks: int = 1) -> Tensor:
    """Return the Eckart-Young loss `-2 tr(C) + tr(V V)` of two views.

    Chapman et al. 2024, SSL-EY. C = Cov(a, b) + Cov(b, a) and V = Var(a) + Var(b), unbiased, with n
    the rows of all `ranks`. Over all linear maps of the embeddings its minimum is minus the sum of
    squares of the eigenvalues of C w = lambda V w, the correlations that one map for both views can
    reach: -D at best, where the views are equal and of covariance I/2. Constant embeddings have a
    loss of 0. The signs matter: with both flipped, as in one public copy, the loss falls without
    end as embeddings grow.
    """
    return ssl_ey_terms(z_a, z_b, average=average, ranks=ranks).loss


@full_precision
def ssl_ey_terms(
    z_a: Tensor, z_b: Tensor, *, average: Average = identity, ranks: int = 1
) -> SSLEYTerms:
    """Return both traces of `ssl_ey`."""
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
