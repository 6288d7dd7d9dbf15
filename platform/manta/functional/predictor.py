"""A predictor that is computed instead of trained."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.functional._precision import full_precision


@full_precision
def direct_predictor(
    correlation: Tensor, *, eps: float, power: float = 0.5, floor: float = 1e-4
) -> Tensor:
    """Return the linear predictor `[D, D]` aligned with the correlation `[D, D]` of its inputs.

    Tian et al. 2021, eq. 18. With `correlation = U diag(d) U^T` it is `U diag((d / max d)^power +
    eps) U^T`: the authors' code, which equals the paper's `sqrt(d) + eps max d` except for the
    scale, which a cosine ignores, and that of eps.

    Args:
        correlation: second moments E[f f^T] about 0; not all zero.
        eps: added to every eigenvalue; it lifts the small ones.
        power: below 1 it lifts small eigenvalues; 1/2 in the paper.
        floor: lower bound of the predictor's eigenvalues.
    """
    values, vectors = torch.linalg.eigh((correlation + correlation.T) / 2)
    values = values.clamp_min(0) / values[-1]
    predictor: Tensor = (vectors * (values.pow(power) + eps).clamp_min(floor)) @ vectors.T
    return predictor


@full_precision
def participation(correlation: Tensor) -> Tensor:
    """Return the participation ratio `(sum d)^2 / sum d^2` of a correlation's `[D, D]` eigenvalues.

    It says how many eigenvalues share the trace: 1 where only one is not zero, D where all are
    equal, and 0 for a matrix of zeros. It takes no decomposition.
    """
    squares = correlation.square().sum()
    return correlation.trace().square() / squares.clamp_min(torch.finfo(squares.dtype).tiny)
