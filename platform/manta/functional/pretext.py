"""Pretext tasks: image transformations that a network learns to recognise, and their loss.

The transformations are not differentiable in what was drawn.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.functional._precision import full_precision

QUARTERS = 4
"""Number of classes of `quarter_turned`."""
QUADRANT_ORDERS = tuple(itertools.permutations(range(4)))
"""Classes of `quadrants_shuffled`: sources of top left, top right, bottom left, bottom right."""


@full_precision
def classify(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the mean cross-entropy of `[N, K]` logits with classes `[N]`."""
    return F.cross_entropy(logits, classes)


def quarter_turned(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate each square `[B, C, S, S]` counter-clockwise by its `turns: [B]` (0 to 3) quarters."""
    turned = torch.stack([images.rot90(turn, (2, 3)) for turn in range(QUARTERS)], dim=1)
    return turned[torch.arange(len(images), device=images.device), turns]


def quadrants_shuffled(images: Tensor, orders: Tensor) -> Tensor:
    """Put each image's quadrants in the order `QUADRANT_ORDERS[orders[b]]`.

    Images are `[B, C, H, W]` with even sides, `orders: [B]` int64.
    """
    count, channels, height, width = images.shape
    tiles = images.reshape(count, channels, 2, height // 2, 2, width // 2).permute(0, 2, 4, 1, 3, 5)
    tiles = tiles.reshape(count, 4, channels, height // 2, width // 2)
    chosen = torch.tensor(QUADRANT_ORDERS, device=images.device)[orders]
    tiles = tiles[torch.arange(count, device=images.device).unsqueeze(1), chosen]
    tiles = tiles.view(count, 2, 2, channels, height // 2, width // 2).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(images.shape)
