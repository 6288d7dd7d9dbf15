"""Decoded images as pictures to look at."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shrunk(images: Tensor, longest: int) -> Tensor:
    """Return images as `[B, h, w, 3]` uint8 on the CPU, no larger than `longest`.

    Args:
        images: `[B, 3, S, S]` uint8.
    """
    images = images.cpu()
    if images.shape[-1] > longest:
        images = F.interpolate(images.float(), size=(longest, longest), mode="area")
        images = images.round().to(torch.uint8)
    return images.permute(0, 2, 3, 1).contiguous()
