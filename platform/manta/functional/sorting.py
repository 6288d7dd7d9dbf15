"""Losses on the order of similarities, by a sorting network whose swaps are soft."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import own_rows
from manta.functional._precision import full_precision


@full_precision
def soft_top(values: Tensor, *, top: int, steepness: float) -> Tensor:
    """Return how likely each value is among the `top` largest of its row: `[N, L] -> [N, L]`.

    An odd-even sorting network of L layers; a pair keeps its order with probability `atan(steepness
    * difference) / pi + 1/2` (the Cauchy relaxation of Petersen et al. 2022). Entry i is the sum
    over the last `top` ranks of column i of the network's doubly stochastic matrix. The matrix is
    never formed: those ranks are traced back through the layers.
    """
    length = values.shape[1]
    kept = []
    for layer in range(length):
        first, second = _pairs(values, layer).unbind(2)
        kept.append(torch.atan(steepness * (second - first)) / math.pi + 0.5)
        values = _swap(values, kept[-1], layer)
    share = torch.ones_like(values)
    share[:, : length - top] = 0
    for layer in reversed(range(length)):
        share = _swap(share, kept[layer], layer)
    return share


@full_precision
def groco(
    z: Tensor,
    positives: Tensor,
    *,
    hardest: int,
    steepness: float,
    keys: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the group ordering loss: each positive above every hard negative in similarity.

    Shvetsova et al. 2023, GroCo. The cosines of the `hardest` negatives and of all positives, each
    ascending, pass through the soft sorting network; the loss is the binary cross-entropy of being
    in the positives' ranks, mean over elements and anchors.

    Args:
        z: `[N, D]` anchors. The caller stops the gradient of the others, as the paper does.
        positives: `[N, P, D]`, the anchors' other views.
        hardest: negatives nearest to the anchor that are sorted; fewer where there are fewer.
        keys: `[M, D]`, the anchors' view of every rank's samples; None: `z`.
        offset: place of this rank's first row among the keys.
    """
    anchors = F.normalize(z, dim=1)
    others = anchors if keys is None else F.normalize(keys, dim=1)
    if len(others) < 2:
        raise ConfigError("sorting needs at least 2 samples in a batch; raise train.batch_size")
    cosines = (anchors @ others.T).masked_fill(own_rows(anchors, others, offset), -math.inf)
    negative = cosines.topk(min(hardest, len(others) - 1), dim=1).values.flip(1)
    positive = torch.einsum("nd,npd->np", anchors, F.normalize(positives, dim=2)).sort(dim=1).values
    similarities = torch.cat([negative, positive], dim=1)
    share = soft_top(similarities, top=positive.shape[1], steepness=steepness)
    target = torch.cat([torch.zeros_like(negative), torch.ones_like(positive)], dim=1)
    return F.binary_cross_entropy(share.clamp(0, 1), target)


def _pairs(x: Tensor, layer: int) -> Tensor:
    """Return `[N, pairs, 2]`, the neighbours in `[N, L]` that this layer compares.

    Even layers pair from the first element on, odd ones from the second.
    """
    start = layer % 2
    count = (x.shape[1] - start) // 2
    return x[:, start : start + 2 * count].reshape(len(x), count, 2)


def _swap(x: Tensor, kept: Tensor, layer: int) -> Tensor:
    """Swap each pair with probability `1 - kept: [N, pairs]`; elements without a partner stay."""
    first, second = _pairs(x, layer).unbind(2)
    moved = (1 - kept) * (second - first)
    pairs = torch.stack([first + moved, second - moved], dim=2).flatten(1)
    start = layer % 2
    return torch.cat([x[:, :start], pairs, x[:, start + pairs.shape[1] :]], dim=1)
