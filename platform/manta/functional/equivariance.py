"""Losses of representations that change with a view's transformation in a predictable way.

Several ranks compute them together as in `redundancy`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, identity, vicreg_terms


@full_precision
def transported(z: Tensor, maps: Tensor) -> Tensor:
    """Return `z + maps z / sqrt(D)`, each sample's own linear map: `[N, D], [N, D, D] -> [N, D]`.

    Maps with entries of the order of 1 so change an embedding by its own order.

    Ours: the added identity and the root; the authors' code of SIE has the bare `maps z`.
    """
    return z + torch.einsum("nij,nj->ni", maps, z) / math.sqrt(z.shape[1])


class SIETerms(NamedTuple):
    """The terms of SIE's loss, without weights."""

    invariance: Tensor
    equivariance: Tensor
    variance: Tensor
    transported_variance: Tensor
    covariance: Tensor


@full_precision
def sie_terms(
    invariant_a: Tensor,
    invariant_b: Tensor,
    equivariant_a: Tensor,
    equivariant_b: Tensor,
    transported_a: Tensor,
    *,
    average: Average = identity,
    ranks: int = 1,
    eps: float = 1e-4,
) -> SIETerms:
    """Return the terms of split invariance and equivariance, scaled as in the authors' code.

    Garrido et al. 2023, SIE. Invariance and equivariance are mean squares of `invariant_a -
    invariant_b` and `transported_a - equivariant_b`. Both parts of a view together have VICReg's
    variance (mean of the two views) and covariance (their sum), so that neither part repeats the
    other. `transported_a` has half a variance term of its own, so that the predictor does not make
    it constant.

    Args:
        invariant_a, invariant_b: `[N, I]`.
        equivariant_a, equivariant_b: `[N, E]`.
        transported_a: `[N, E]`, equivariant_b as predicted from equivariant_a and the
            transformation.
    """
    check_pair(equivariant_a, equivariant_b)
    check_pair(transported_a, equivariant_b)
    both_a = torch.cat([invariant_a, equivariant_a], 1)
    both_b = torch.cat([invariant_b, equivariant_b], 1)
    terms = vicreg_terms(both_a, both_b, average=average, ranks=ranks, eps=eps)
    return SIETerms(
        invariance=(invariant_a - invariant_b).square().mean(),
        equivariance=(transported_a - equivariant_b).square().mean(),
        variance=terms.variance / 2,
        transported_variance=_hinge(transported_a, average=average, ranks=ranks, eps=eps) / 2,
        covariance=terms.covariance,
    )


def _hinge(z: Tensor, *, average: Average, ranks: int, eps: float) -> Tensor:
    """Return VICReg's variance term of one view."""
    samples = len(z) * ranks
    if samples < 2:
        raise ConfigError("variances need at least 2 samples in a batch; raise train.batch_size")
    centred = z - average(z.mean(0))
    variances = average(centred.square().mean(0)) * (samples / (samples - 1))
    return (1 - (variances + eps).sqrt()).relu().mean()
