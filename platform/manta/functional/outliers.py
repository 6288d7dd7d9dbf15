"""Contrast of inliers, which attract one another, with virtual outliers, which repel (Wang et al. 2023, UniCon-HA).

Anchors, keys and how ranks share them are those of `manta.functional.contrastive`, but that a "sample" is an inlier or
one of the outliers that were made of it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair, own_rows
from manta.functional._precision import full_precision


@full_precision
def unicon(
    z_a: Tensor,
    z_b: Tensor,
    *,
    inlier: Tensor,
    temperature: float,
    weight_temperature: float | None = None,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    inlier_keys: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Unilaterally aggregated contrast, mean over the 2N anchors.

    Every anchor has the softmax over all views but itself. An outlier's positive is its other view. An inlier's are
    all other inlier views, each pair weighed by w_i w_j; the weights of all pairs are scaled to a mean of 1 over the
    inlier anchors, so that equal w give each anchor the mean over its positives. The scale and the softmax's sum, of
    the positives too, are choices of ours where the paper was not at hand.

    Args:
        inlier: `[N]` bool.
        weight_temperature: w is the softmax over inlier views of the mean cosine with the other inlier views over it,
            without a gradient; None weighs all alike.
        inlier_keys: `[M]` bool, of the keys.
    """
    check_pair(z_a, z_b)
    if keys_a is None or keys_b is None or inlier_keys is None:
        keys_a, keys_b, inlier_keys = z_a, z_b, inlier
    check_pair(keys_a, keys_b)
    if inlier.shape != (len(z_a),) or inlier_keys.shape != (len(keys_a),):
        raise ConfigError("inlier and inlier_keys say one thing of each sample; give [N] and [M]")
    keys = F.normalize(torch.cat([keys_a, keys_b]), dim=1)
    same_sample = own_rows(z_a, keys_a, offset)
    itself = torch.block_diag(same_sample, same_sample)  # type: ignore[no-untyped-call]
    own, partner = itself.int().argmax(1), itself.roll(len(keys_a), 1)

    logits = F.normalize(torch.cat([z_a, z_b]), dim=1) @ keys.T / temperature
    log_p = logits.masked_fill(itself, -math.inf).log_softmax(1)
    w = inlier_weights(keys.detach(), inlier_keys.repeat(2), weight_temperature)
    pairs = (inlier_keys.sum() * 2 / (1 - w.square().sum())) * w[own][:, None] * w
    weights = torch.where(inlier.repeat(2)[:, None], pairs, partner.to(pairs.dtype))
    return -(weights * log_p.masked_fill(itself, 0.0)).sum(1).mean()


def inlier_weights(keys: Tensor, inlier: Tensor, temperature: float | None) -> Tensor:
    """`[M]` of sum 1, 0 for outliers: how much each of the unit vectors `keys` is at home among the inliers."""
    if temperature is None:
        return inlier.to(keys.dtype) / inlier.sum()
    others = keys @ (keys * inlier[:, None]).sum(0) - 1
    scores = others / (inlier.sum() - 1) / temperature
    return scores.masked_fill(~inlier, -math.inf).softmax(0)
