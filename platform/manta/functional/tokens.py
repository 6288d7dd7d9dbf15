"""Losses over the tokens of samples: units and latents of hidden tokens.

A loss is the mean over samples of the mean over a sample's tokens, so that ranks and micro-batches
weigh alike however many tokens their samples have.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.functional._precision import full_precision, upcast


@full_precision
def token_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean over samples of the mean over their chosen tokens.

    A sample without any counts as 0, so that what the others weigh does not depend on it.

    Args:
        values: `[N, T]`.
        chosen: `[N, T]` bool.
    """
    count = chosen.sum(1).clamp(min=1)
    return (torch.where(chosen, values, 0.0).sum(1) / count).mean()


@full_precision
def unit_prediction(
    cosines: Tensor, units: Tensor, hidden: Tensor, *, temperature: float, alpha: float = 1.0
) -> Tensor:
    """Return the cross-entropy of the units of hidden tokens, and of the others.

    Hsu et al. 2021, HuBERT, eq. 1 to 3: `alpha` times that of hidden tokens, and `1 - alpha` times
    that of the visible ones.

    Args:
        cosines: `[N, T, K]`, of each token's prediction and each unit's vector.
        units: `[N, T]` int64; tokens with a negative number have none and do not count.
        hidden: `[N, T]` bool.
    """
    logits = cosines.flatten(0, 1) / temperature
    known = units >= 0
    each = F.cross_entropy(logits, units.clamp(min=0).flatten(), reduction="none").view_as(units)
    loss = alpha * token_mean(each, hidden & known)
    return loss if alpha == 1 else loss + (1 - alpha) * token_mean(each, ~hidden & known)


@torch.no_grad()
def contextual_targets(layers: Sequence[Tensor], there: Tensor | None = None) -> Tensor:
    """Return the mean over layers of their outputs, each with its channels normalised over tokens.

    Baevski et al. 2022 (data2vec, sec. 3.3) and 2023 (data2vec 2.0): instance norm, in each sample
    by itself and without a learned scale.

    Args:
        layers: of each a tensor `[N, T, D]`.
        there: `[N, T]` bool, which tokens count; None: all. Others get the target 0.
    """
    total = torch.zeros_like(upcast(layers[0]))
    if there is None:
        there = torch.ones(total.shape[:2], dtype=torch.bool, device=total.device)
    weight = there.to(total.dtype).unsqueeze(2)
    count = weight.sum(1, keepdim=True).clamp(min=1)
    for layer in layers:
        values = upcast(layer)
        mean = (values * weight).sum(1, keepdim=True) / count
        centred = (values - mean) * weight
        variance = centred.square().sum(1, keepdim=True) / count
        total += centred * torch.rsqrt(variance + 1e-5)
    return total / len(layers)


@full_precision
def latent_regression(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Return the squared error of hidden tokens, a mean over their channels.

    Baevski et al. 2023, data2vec 2.0, with the square in place of the smooth L1 loss of the first.

    Args:
        prediction, target: `[N, T, D]`.
        hidden: `[N, T]` bool.
    """
    return token_mean((prediction - target).square().mean(2), hidden)
