"""Contrastive losses that compare every sample of a batch with every other.

Anchors are `z_a, z_b: [N, D]`. They are compared with themselves, or with a larger set of keys that
contains them: rank `r` of `W` passes its own rows, every rank's rows as `keys_a, keys_b: [M, D]`,
and `offset = r * N`, the place of its first row among them. The mean of the ranks' losses is then
the loss of all M samples, for N x M work on each rank.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair, own_rows
from manta.functional._precision import full_precision


@full_precision
def nt_xent(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: float,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views, mean over 2N anchors.

    Chen et al. 2020, SimCLR, eq. 1.
    """
    cosines = compare_all(z_a, z_b, keys_a, keys_b, offset)
    positive = cosines.positive.repeat(2) / temperature
    negatives = torch.logsumexp(cosines.negatives / temperature, dim=1)
    return (torch.logaddexp(positive, negatives) - positive).mean()


@full_precision
def dcl(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: float,
    sigma: float | None = None,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the decoupled contrastive loss of two views, mean over 2N anchors.

    Yeh et al. 2022, eq. 6. The denominator is one log-sum-exp over the 2M - 2 negatives of both
    views, without the positive.

    Args:
        sigma: concentration of the negative von Mises-Fisher weights of the positives, whose mean
            over the M pairs is 1 (eq. 7, "DCLW"); None weighs all pairs alike.
    """
    cosines = compare_all(z_a, z_b, keys_a, keys_b, offset)
    positive = cosines.positive / temperature
    if sigma is not None:
        pairs = len(cosines.all_positives)
        log_mean = torch.logsumexp(cosines.all_positives / sigma, dim=0) - math.log(pairs)
        positive = (2 - torch.exp(cosines.positive / sigma - log_mean)) * positive
    negatives = torch.logsumexp(cosines.negatives / temperature, dim=1)
    return negatives.mean() - positive.mean()


class Cosines(NamedTuple):
    """Cosines of anchors with keys, as `compare_all` returns them.

    Attributes:
        positive: `[N]`, of each pair of anchors.
        all_positives: `[M]`, of each pair of keys.
        negatives: `[2N, 2M]`, -inf where the key is the anchor itself or its positive.
    """

    positive: Tensor
    all_positives: Tensor
    negatives: Tensor


def compare_all(
    z_a: Tensor, z_b: Tensor, keys_a: Tensor | None, keys_b: Tensor | None, offset: int
) -> Cosines:
    """Return the cosines of every anchor with every key (see the module's description)."""
    check_pair(z_a, z_b)
    a, b = F.normalize(z_a, dim=1), F.normalize(z_b, dim=1)
    if keys_a is None or keys_b is None:
        if keys_a is not keys_b or offset:
            raise ConfigError("keys_a and keys_b go together, and an offset is a place among them")
        k_a, k_b = a, b
    else:
        check_pair(keys_a, keys_b)
        k_a, k_b = F.normalize(keys_a, dim=1), F.normalize(keys_b, dim=1)
    if len(k_a) < 2:
        raise ConfigError(
            "a contrastive loss needs at least 2 samples in a batch; raise train.batch_size"
        )

    same_sample = own_rows(a, k_a, offset)
    cosines = torch.cat([a, b]) @ torch.cat([k_a, k_b]).T
    positive = (a * b).sum(1)
    return Cosines(
        positive=positive,
        all_positives=positive if keys_a is None else (k_a * k_b).sum(1),
        negatives=cosines.masked_fill(same_sample.repeat(2, 2), -math.inf),
    )
