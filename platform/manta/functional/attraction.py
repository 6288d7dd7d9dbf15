"""Attraction and repulsion that put most weight on the hardest pairs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._checks import own_rows
from manta.functional._precision import full_precision


class CACRTerms(NamedTuple):
    """The two expectations of CACR, without weights; repulsion is negative."""

    attraction: Tensor
    repulsion: Tensor


@full_precision
def cacr_terms(
    z: Tensor, *, attraction: float, repulsion: float, keys: Tensor | None = None, offset: int = 0
) -> CACRTerms:
    """Return doubly contrastive attraction and repulsion on squared distances of unit vectors.

    Zheng et al. 2023, CACR. Among an anchor's positives the far ones weigh more: a softmax of
    `attraction * distance` over its other views. Among its negatives the near ones do: a softmax of
    `-repulsion * distance` over the other samples of another view. Both softmaxes carry gradients.
    Every view is the anchor in turn, and every pair of views has its own repulsion.

    Args:
        z: `[N, V, D]`, V views of this rank's samples.
        keys: `[M, V, D]`, every rank's; None: `z`.
        offset: place of this rank's first sample among the keys.
    """
    views = z.shape[1]
    anchors = F.normalize(z, dim=2)
    others = anchors if keys is None else F.normalize(keys, dim=2)
    if views < 2 or len(others) < 2:
        raise ConfigError(
            "attraction needs 2 views and repulsion 2 samples; raise train.batch_size"
        )
    same_view = torch.eye(views, dtype=torch.bool, device=z.device)
    same_sample = own_rows(z, others, offset)

    near = 2 - 2 * anchors @ anchors.mT  # [N, V, V]
    pull = torch.softmax((attraction * near).masked_fill(same_view, -math.inf), dim=2)
    far = 2 - 2 * torch.einsum("nvd,mwd->vwnm", anchors, others)
    push = torch.softmax((-repulsion * far).masked_fill(same_sample, -math.inf), dim=3)
    repelled = (push * far).sum(3).mean(2)  # [V, V]
    return CACRTerms((pull * near).sum(2).mean(), -repelled.masked_select(~same_view).mean())
