"""Few-shot episodes made from a batch: every sample is its own class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._precision import full_precision


@full_precision
def protoclr(queries: Tensor, prototypes: Tensor, *, offset: int = 0) -> Tensor:
    """Return the mean cross-entropy of assigning queries to their samples' prototypes.

    Medina et al. 2020, ProtoCLR, section 2.2. The softmax is over minus the squared Euclidean
    distances. The square of the query is the same for all prototypes and left out.

    Args:
        queries: `[N, Q, D]`, the augmented copies of this rank's samples; not normalised.
        prototypes: `[M, D]`, of every rank's samples.
        offset: place of this rank's first sample among the prototypes.
    """
    if len(prototypes) < 2:
        raise ConfigError("an episode needs at least 2 samples in a batch; raise train.batch_size")
    if not 0 <= offset <= len(prototypes) - len(queries):
        raise ConfigError(
            f"{len(queries)} samples from row {offset} on "
            f"are not among {len(prototypes)} prototypes"
        )
    nearness = 2 * queries.flatten(0, 1) @ prototypes.T - prototypes.square().sum(1)
    own = torch.arange(offset, offset + len(queries), device=queries.device)
    return F.cross_entropy(nearness, own.repeat_interleave(queries.shape[1]))
