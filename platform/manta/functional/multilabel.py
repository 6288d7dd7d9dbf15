"""Instance discrimination as a question with several right answers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def nearest_labels(
    features: Tensor, dictionary: Tensor, *, k: int, valid: Tensor | None = None
) -> Tensor:
    """Return `[N, M]` bool, the k rows of the dictionary nearest to each feature by cosine.

    Zhu et al. 2023, MLS, eq. 7.

    Args:
        features, dictionary: `[N, D]` and `[M, D]`.
        valid: `[M]` bool, rows that exist; None: all. Where fewer than k exist, all of them are
            nearest.
    """
    cosines = F.normalize(features, dim=1) @ F.normalize(dictionary, dim=1).T
    if valid is not None:
        cosines = cosines.masked_fill(~valid, -math.inf)
    nearest = cosines.topk(min(k, len(dictionary)), dim=1).indices
    labels = torch.zeros_like(cosines, dtype=torch.bool).scatter(1, nearest, True)
    return labels if valid is None else labels & valid


@full_precision
def dictionary_logits(
    z: Tensor, dictionary: Tensor, *, temperature: float, valid: Tensor | None = None
) -> Tensor:
    """Return cosines over the temperature, `[N, D], [M, D] -> [N, M]`.

    MLS, eq. 8; -inf where a row of the dictionary is not valid.
    """
    logits = F.normalize(z, dim=1) @ F.normalize(dictionary, dim=1).T / temperature
    return logits if valid is None else logits.masked_fill(~valid, -math.inf)


@full_precision
def multilabel_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of each row of the dictionary, mean over the valid ones.

    MLS, eq. 9.

    Args:
        logits: `[N, M]`, -inf for a row of the dictionary that is not valid; such rows have no
            label.
        labels: `[N, M]` bool.
    """
    check_pair(logits, labels)
    valid = logits > -math.inf
    return -F.logsigmoid(torch.where(labels, logits, -logits)).sum() / valid.sum()
