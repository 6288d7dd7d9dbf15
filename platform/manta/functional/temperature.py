"""Contrastive losses with a trained temperature for each pair (AMCL) or each sample (iSogCLR).

Anchors, keys and `offset` are as in `contrastive`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.contrastive import compare_all


class AMCLTerms(NamedTuple):
    """Terms of AMCL's loss.

    Attributes:
        likelihood: the loss without its regulariser.
        regulariser: without its weight beta.
        temperature: mean over the positives.
    """

    likelihood: Tensor
    regulariser: Tensor
    temperature: Tensor


@full_precision
def amcl_terms(
    z_a: Tensor,
    z_b: Tensor,
    scores_a: Tensor,
    scores_b: Tensor,
    *,
    low: float,
    high: float,
    hardest: int,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    score_keys_a: Tensor | None = None,
    score_keys_b: Tensor | None = None,
    offset: int = 0,
) -> AMCLTerms:
    """Return the terms of one head of AMCL over SimCLR, mean over the 2N anchors.

    Wang et al. 2024, adaptive multi-head contrastive learning. A pair's temperature is `low + (high
    - low) * sigmoid(-s . s')` of its scores (eq. 3). The likelihood is minus the positive's cosine
    over its temperature, plus the mean of the same over the `hardest` negatives (eq. 5). The
    regulariser is `D/2 log t + 1/t` of the positive's temperature, minus the sum of `log t + 1/t`
    over those negatives.

    Args:
        z_a, z_b: `[N, D]`.
        scores_a, scores_b: `[N, S]`, outputs of the temperature network.
        hardest: negatives of the highest cosine that count; fewer where there are fewer.
        score_keys_a, score_keys_b: `[M, S]`, every rank's scores, with `keys_a, keys_b`.
    """
    check_pair(scores_a, scores_b)
    cosines = compare_all(z_a, z_b, keys_a, keys_b, offset)
    s = torch.cat([scores_a, scores_b])
    s_keys = s
    if score_keys_a is not None and score_keys_b is not None:
        s_keys = torch.cat([score_keys_a, score_keys_b])

    def temperature(score: Tensor) -> Tensor:
        return low + (high - low) * torch.sigmoid(-score)

    positive = temperature((scores_a * scores_b).sum(1))
    hard = cosines.negatives.topk(min(hardest, cosines.negatives.shape[1] - 2), dim=1)
    negative = temperature((s @ s_keys.T).gather(1, hard.indices))
    likelihood = (hard.values / negative).mean() - (cosines.positive / positive).mean()
    omega = z_a.shape[1] / 2 * positive.log() + 1 / positive
    regulariser = omega.mean() - (negative.log() + 1 / negative).sum(1).mean()
    return AMCLTerms(likelihood, regulariser, positive.detach().mean())


class RobustTerms(NamedTuple):
    """A scalar loss, and the new state of each sample.

    Attributes:
        loss: scalar.
        log_average: `[N]`, logarithm of the moving average after this batch.
        gradient: `[N]`, of a sample's loss with respect to its temperature.
    """

    loss: Tensor
    log_average: Tensor
    gradient: Tensor


@full_precision
def isogclr(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: Tensor,
    log_average: Tensor,
    seen: Tensor,
    gamma: float,
    rho: float,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
) -> RobustTerms:
    """Return the robust global contrastive loss with one temperature per sample.

    Qiu et al. 2023, iSogCLR, eq. 6. An anchor's loss is `t log g + rho t`, with `g` the mean of
    `exp((negative - positive) / t)` over all the negatives of the dataset. A batch contains some of
    them: `u = (1 - gamma) u + gamma g` is kept for each sample. The value here is `t log u + rho
    t`, mean over the 2N anchors, and its gradient the paper's estimator `t (dg) / u`.

    Args:
        temperature: `[N]`, of each sample, held fixed.
        log_average: `[N]`, logarithm of each sample's u (the mean of its two anchors').
        seen: `[N]` bool, False where `log_average` has no value yet: there u is g.
        gamma: weight of this batch in u, in (0, 1].
        rho: cost of one unit of temperature.
    """
    cosines = compare_all(z_a, z_b, keys_a, keys_b, offset)
    t = temperature.repeat(2)
    scaled = (cosines.negatives - cosines.positive.repeat(2).unsqueeze(1)) / t.unsqueeze(1)
    log_g = torch.logsumexp(scaled, dim=1) - math.log(scaled.shape[1] - 2)
    with torch.no_grad():
        kept = math.log1p(-gamma) if gamma < 1 else -math.inf
        blended = torch.logaddexp(log_average.repeat(2) + kept, log_g + math.log(gamma))
        log_u = torch.where(seen.repeat(2), blended, log_g)
    ratio = torch.exp(log_g - log_u)
    loss = (t * (log_u + rho + ratio - ratio.detach())).mean()
    with torch.no_grad():
        finite = scaled.masked_fill(scaled == -math.inf, 0.0)
        expected = (torch.softmax(scaled, dim=1) * finite).sum(1)
        gradient = (log_u + rho - ratio * expected).view(2, -1).mean(0)
        average = torch.logsumexp(log_u.view(2, -1), dim=0) - math.log(2)
    return RobustTerms(loss, average, gradient)


@full_precision
def temperature_step(
    temperature: Tensor,
    velocity: Tensor,
    gradient: Tensor,
    *,
    lr: float,
    momentum: float,
    clip: float,
    low: float,
    high: float,
) -> tuple[Tensor, Tensor]:
    """Take one SGD step on each sample's temperature; return the new temperature and velocity.

    The temperature stays within its range. The velocity is a moving average of the gradients, each
    clipped to `[-clip, clip]`.
    """
    velocity = momentum * velocity + (1 - momentum) * gradient.clamp(-clip, clip)
    return (temperature - lr * velocity).clamp(low, high), velocity
