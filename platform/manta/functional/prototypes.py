"""Losses that compare two views by their assignment to prototypes.

With several ranks each passes its own rows, and `average`, which averages a statistic over ranks
and carries gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import check_pair
from manta.functional._precision import full_precision
from manta.functional.redundancy import Average, identity


@full_precision
def swapped_prediction(cosines: Tensor, codes: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of one view's prototypes under another's code, mean over samples.

    Caron et al. 2020, SwAV, eq. 2.

    Args:
        cosines: `[N, K]` of the predicting view with the prototypes.
        codes: `[N, K]` of the other view; rows sum to 1.
    """
    check_pair(cosines, codes)
    return -(codes * F.log_softmax(cosines / temperature, dim=1)).sum(1).mean()


class MSNTerms(NamedTuple):
    """The two terms of MSN, without the entropy's weight."""

    prediction: Tensor
    entropy: Tensor


@full_precision
def sharpened(cosines: Tensor, *, temperature: float) -> Tensor:
    """Return codes `[N, K]`, the softmax at a temperature below the anchors'; rows sum to 1.

    Assran et al. 2022, MSN, section 3. The paper takes the softmax at the anchors' temperature and
    sharpens it by a power `1 / T`, which is the same at `T * temperature`.
    """
    return F.softmax(cosines / temperature, dim=1)


@full_precision
def msn_terms(
    anchors: Tensor, codes: Tensor, *, temperature: float, average: Average = identity
) -> MSNTerms:
    """Return the anchors' cross-entropy under the target's code, and the mean anchor's entropy.

    Assran et al. 2022, MSN, eq. 1. The loss is `prediction - weight * entropy`.

    Args:
        anchors: `[M, N, K]` cosines of M anchor views with the prototypes.
        codes: `[N, K]` of the target view; rows sum to 1.
    """
    if anchors.ndim != 3 or anchors.shape[1:] != codes.shape:
        raise ConfigError(
            "anchors [M, N, K] must fit codes [N, K], "
            f"not {tuple(anchors.shape)} and {tuple(codes.shape)}"
        )
    log_anchors = F.log_softmax(anchors / temperature, dim=2)
    prediction = -(codes * log_anchors).sum(2).mean()
    mean = average(log_anchors.exp().mean((0, 1)))
    # An unused prototype adds nothing, and would have an infinite gradient without the clamp.
    return MSNTerms(prediction, torch.special.entr(mean.clamp_min(1e-30)).sum())
