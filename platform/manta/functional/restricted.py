"""NT-Xent in which each anchor chooses which samples may be its negatives.

Anchors, keys and how ranks share them are those of `manta.functional.contrastive`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._precision import full_precision
from manta.functional.contrastive import compare_all


@full_precision
def restricted_nt_xent(
    z_a: Tensor,
    z_b: Tensor,
    *,
    allowed: Tensor,
    temperature: float,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Return NT-Xent over the views of allowed samples, mean over the 2N anchors.

    An anchor's loss is `-log(e^p / (e^p + sum e^n))`, with p and n the cosines over the temperature
    with the anchor's other view and with a negative. With every sample allowed it is `nt_xent`; an
    anchor without any negative adds 0 and has no gradient.

    Args:
        allowed: `[N, M]` bool, whether sample j is a negative of anchor i. An anchor's own sample
            never is.
    """
    cosines = compare_all(z_a, z_b, keys_a, keys_b, offset)
    shape = tuple(side // 2 for side in cosines.negatives.shape)
    if allowed.shape != shape:
        raise ConfigError(
            f"allowed must be of shape {shape}, anchors by keys, not {tuple(allowed.shape)}"
        )
    negatives = cosines.negatives.masked_fill(~allowed.repeat(2, 2), -math.inf)
    positive = cosines.positive.repeat(2).unsqueeze(1)
    everything = torch.cat([positive, negatives], dim=1) / temperature
    return (everything.logsumexp(1) - everything[:, 0]).mean()
