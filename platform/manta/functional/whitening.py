"""Whitening as a way to prevent collapse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def whiten(z: Tensor, *, shrinkage: float) -> Tensor:
    """Return `[N, D]` centred and with covariance I, by the Cholesky factor.

    Ermolov et al. 2021, W-MSE.

    Ours: the covariance S shrinks towards `tr(S) / D I`, which has its scale, so that the result
    does not depend on the embeddings' scale. The authors' code shrinks towards I, so that small
    embeddings are no longer whitened.

    Args:
        shrinkage: of S towards the identity's multiple. A direction whose share of the variance is
            below it comes out small. Without it N must be above D.
    """
    if len(z) < 2:
        raise ConfigError("whitening needs at least 2 samples in a batch; raise train.batch_size")
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    # Collapsed embeddings do not fail here: the collapse monitor reports them.
    variance = covariance.diagonal().mean().clamp_min(torch.finfo(z.dtype).eps)
    sphere = variance * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    covariance = torch.lerp(covariance, sphere, shrinkage)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed or (shrinkage == 0 and len(z) <= z.shape[1]):
        raise ConfigError(
            f"the covariance of {len(z)} samples in {z.shape[1]} dimensions has no inverse; raise "
            "objective.shrinkage, or train.batch_size and objective.sub_batch, or lower "
            "objective.projector.out; embeddings that became infinite need a lower optimizer.lr"
        )
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False)
    return white.T


@full_precision
def w_mse(z_a: Tensor, z_b: Tensor, groups: Sequence[Tensor], *, shrinkage: float) -> Tensor:
    """Return the squared distance of whitened, then normalised views, mean over all pairs.

    Ermolov et al. 2021, W-MSE.

    Args:
        z_a, z_b: `[N, D]`, every rank's.
        groups: row indices of each sub-batch; each view is whitened within a sub-batch.
    """
    check_pair(z_a, z_b)
    w_a, w_b = (
        F.normalize(torch.cat([whiten(z[rows], shrinkage=shrinkage) for rows in groups]))
        for z in (z_a, z_b)
    )
    return (w_a - w_b).square().sum(1).mean()
