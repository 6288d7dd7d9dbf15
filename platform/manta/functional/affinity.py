"""Soft targets that similar samples of a batch lend each other."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def affinities(features: Tensor, *, temperature: float) -> Tensor:
    """Return the row-wise softmax of a batch's cosines, itself left out: `[M, D] -> [M, M]`.

    Ge et al. 2021, BAKE. The diagonal is 0.

    Ours: the temperature; BAKE's code has none, which is a temperature of 1.
    """
    if len(features) < 2:
        raise ConfigError("affinities need at least 2 samples in a batch; raise train.batch_size")
    unit = F.normalize(features, dim=1)
    own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return F.softmax((unit @ unit.T / temperature).masked_fill(own, -math.inf), dim=1)


@full_precision
def ensembled(targets: Tensor, affinity: Tensor, *, lent: float) -> Tensor:
    """Return each target mixed with its neighbours' targets, and theirs in turn: `[M, K]`.

    Ge et al. 2021, BAKE.

    The limit of `Q <- lent * A Q + (1 - lent) * P`, which is `(1 - lent) (I - lent A)^-1 P`; rows
    still sum to 1.

    Args:
        targets: P, `[M, K]`.
        affinity: A, `[M, M]`, whose rows sum to 1.
        lent: share of a target that comes from other samples, in [0, 1).
    """
    identity = torch.eye(len(affinity), dtype=affinity.dtype, device=affinity.device)
    mixed: Tensor = torch.linalg.solve(identity - lent * affinity, (1 - lent) * targets)
    return mixed


@full_precision
def soft_divergence(student: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """Return the KL divergence of the student's softmax from `targets`, mean over rows.

    It is 0 where both are the same. It is not multiplied by temperature^2, as distillation of
    unbounded logits is: for cosines at a temperature of 0.1 that would leave almost nothing.

    Args:
        student: logits `[N, K]`, before the temperature.
        targets: distributions `[N, K]`.
    """
    check_pair(student, targets)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), targets, reduction="batchmean")
