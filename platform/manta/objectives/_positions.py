"""Fixed positions of tokens on a grid of any number of axes."""

from __future__ import annotations

import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from torch import Tensor


def sincos_positions(grid: tuple[int, ...], width: int) -> Tensor:
    """Return sines and cosines of each cell's place, `[cells, width]` in row-major order.

    Each axis has an equal part of the width, whose rest, where it cannot be parted, is zero. Of two
    axes they are timm's, whose order of the parts is its own.
    """
    if len(grid) == 2:
        positions: Tensor = build_sincos2d_pos_embed(list(grid), width)
        return positions
    bands = width // (2 * len(grid))
    frequencies = 10_000.0 ** (-torch.arange(bands, dtype=torch.float32) / max(bands, 1))
    axes = [torch.arange(side, dtype=torch.float32) for side in grid]
    places = torch.cartesian_prod(*axes).reshape(-1, len(grid))
    angles = places.unsqueeze(2) * frequencies
    positions = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
    return torch.nn.functional.pad(positions, (0, width - positions.shape[1]))
