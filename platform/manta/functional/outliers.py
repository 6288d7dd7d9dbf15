"""Contrast of inliers, which attract one another, with virtual outliers, which repel.

Wang et al. 2023, UniCon-HA. Anchors, keys and how ranks share them are those of
`manta.functional.contrastive`, except that a "sample" is an inlier or one of the outliers made from
it.
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
    """Return the unilaterally aggregated contrast, mean over the 2N anchors.

    UniCon-HA, eq. 1 and 4 to 7. Every anchor has the softmax over all views but itself, its
    positives among them (eq. 1). An outlier's positive is its other view (eq. 5). An inlier's are
    all other inlier views (eq. 4), of which view j counts for `w_j / (the sum of w over all but the
    anchor)`: eq. 6 divides `w_i w_j` by its sum over the anchor's positives, where w_i cancels, so
    that every inlier anchor weighs as much as an outlier.

    Ours: the paper prints w inside the logarithm, where it would add a constant and carry no
    gradient; here w multiplies the logarithm.

    Args:
        inlier: `[N]` bool.
        weight_temperature: of w, the exponential of `inlier_scores`, without a gradient; None: all
            alike.
        inlier_keys: `[M]` bool, of the keys.
    """
    check_pair(z_a, z_b)
    if keys_a is None or keys_b is None or inlier_keys is None:
        keys_a, keys_b, inlier_keys = z_a, z_b, inlier
    check_pair(keys_a, keys_b)
    if inlier.shape != (len(z_a),) or inlier_keys.shape != (len(keys_a),):
        raise ConfigError("inlier and inlier_keys need one value per sample; give [N] and [M]")
    keys = F.normalize(torch.cat([keys_a, keys_b]), dim=1)
    same_sample = own_rows(z_a, keys_a, offset)
    itself = torch.block_diag(same_sample, same_sample)  # type: ignore[no-untyped-call]
    partner = itself.roll(len(keys_a), 1)

    logits = F.normalize(torch.cat([z_a, z_b]), dim=1) @ keys.T / temperature
    log_p = logits.masked_fill(itself, -math.inf).log_softmax(1)
    scores = inlier_scores(keys.detach(), inlier_keys.repeat(2), weight_temperature)
    aggregated = scores.expand_as(logits).masked_fill(itself, -math.inf).softmax(1)
    weights = torch.where(inlier.repeat(2)[:, None], aggregated, partner.to(aggregated.dtype))
    return -(weights * log_p.masked_fill(itself, 0.0)).sum(1).mean()


def inlier_scores(keys: Tensor, inlier: Tensor, temperature: float | None) -> Tensor:
    """Return `[M]`, the log of how close each of the unit vectors `keys` is to the inliers.

    It is -inf for outliers. Eq. 7 except for its denominator, the sum over all inliers, which is
    the same for each: `log sum_{j != i} exp(cosine of i and j / temperature)`, j over inliers. None
    scores all inliers alike.
    """
    if temperature is None:
        return torch.zeros_like(keys[:, 0]).masked_fill(~inlier, -math.inf)
    others = (keys @ keys.T / temperature).masked_fill(~inlier, -math.inf).fill_diagonal_(-math.inf)
    return others.logsumexp(1).masked_fill(~inlier, -math.inf)
