"""Pretext tasks: transformations of images that a network is asked to recognise. Nothing here is
differentiable in what was drawn."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

QUARTERS = 4
"""Classes of `quarter_turned`."""
QUADRANT_ORDERS = tuple(itertools.permutations(range(4)))
"""Classes of `quadrants_shuffled`: what lies top left, top right, bottom left, bottom right."""


def quarter_turned(images: Tensor, turns: Tensor) -> Tensor:
    """Square `[B, C, S, S]`, each turned counter-clockwise by its `turns: [B]` (0 to 3)
    quarters."""
    turned = torch.stack([images.rot90(turn, (2, 3)) for turn in range(QUARTERS)], dim=1)
    return turned[torch.arange(len(images), device=images.device), turns]


def quadrants_shuffled(images: Tensor, orders: Tensor) -> Tensor:
    """`[B, C, H, W]` of even sides, each with its quadrants in the order
    `QUADRANT_ORDERS[orders[b]]`."""
    count, channels, height, width = images.shape
    tiles = images.reshape(count, channels, 2, height // 2, 2, width // 2).permute(0, 2, 4, 1, 3, 5)
    tiles = tiles.reshape(count, 4, channels, height // 2, width // 2)
    chosen = torch.tensor(QUADRANT_ORDERS, device=images.device)[orders]
    tiles = tiles[torch.arange(count, device=images.device).unsqueeze(1), chosen]
    tiles = tiles.view(count, 2, 2, channels, height // 2, width // 2).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(images.shape)
