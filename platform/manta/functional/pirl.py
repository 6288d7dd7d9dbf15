"""Contrast of an image and its jigsaw puzzle with memories of images.

Misra & van der Maaten 2020, PIRL. Queries are this rank's rows `[N, D]`; the mean of the ranks'
losses is the global batch's.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision

LARGEST_SHARE = 1 - 1e-6
"""Cap on one negative's share of the softmax, so that log(1 - share) stays finite."""


@full_precision
def memory_nce(
    z: Tensor, memory: Tensor, bank: Tensor, *, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Return the noise-contrastive estimation of features against memories, mean over N.

    PIRL, eq. 3 and 4. With h the softmax over the cosines with a sample's own memory and with those
    of the bank, the loss is `-log h(own) - sum log(1 - h(other))`.

    Args:
        z: `[N, D]`, of an image or of its puzzle.
        memory: `[N, D]`, of the same samples.
        bank: `[K, D]`, memories of others.
        excluded: `[N, K]` bool, True where the bank's row is the sample's own, and so no negative.
    """
    check_pair(z, memory)
    z = F.normalize(z, dim=1)
    own = (z * F.normalize(memory, dim=1)).sum(1, keepdim=True)
    others = z @ F.normalize(bank, dim=1).T
    if excluded is not None:
        others = others.masked_fill(excluded, -math.inf)
    shares = F.log_softmax(torch.cat([own, others], dim=1) / temperature, dim=1)
    noise = torch.log1p(-shares[:, 1:].exp().clamp(max=LARGEST_SHARE))
    return -(shares[:, 0] + noise.sum(1)).mean()


@torch.no_grad()
def jigsaw_patches(
    images: Tensor, offsets: Tensor, *, grid: int, share: float, size: int
) -> Tensor:
    """Cut a square patch from each grid cell, row by row.

    `[N, C, H, W] -> [N, grid * grid, C, size, size]`.

    Args:
        offsets: `[N, grid * grid, 2]` in 0..1: where in its cell the patch lies, horizontally and
            vertically.
        share: side of a patch over the side of its cell, in 0..1; below 1 patches of neighbouring
            cells do not touch, so that no continued edge gives their order away.
        size: side in pixels that patches are resized to (bilinear).
    """
    side = share / grid
    patches = []
    for cell in range(grid * grid):
        corner = images.new_tensor([cell % grid, cell // grid]) / grid
        # In 0..1 of the image; affine_grid wants -1..1.
        centre = corner + side / 2 + offsets[:, cell] * (1 - share) / grid
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = side
        theta[:, :, 2] = 2 * centre - 1
        shape = [len(images), images.shape[1], size, size]
        points = F.affine_grid(theta, shape, align_corners=False)
        patches.append(F.grid_sample(images, points, padding_mode="border", align_corners=False))
    return torch.stack(patches, dim=1)
