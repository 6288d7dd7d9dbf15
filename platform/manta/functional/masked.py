"""Reconstruction losses on hidden patches."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.functional._precision import full_precision


def patchify(grids: Tensor, patch_size: tuple[int, ...]) -> Tensor:
    """Return the numbers of each patch in row-major order, `[N, C, *space] -> [N, T, numbers]`.

    Of an image's patches of `h x w` pixels these are `C * h * w` numbers, channel by channel.

    Args:
        patch_size: a side for each axis of space.
    """
    axes = len(patch_size)
    patches = grids
    for axis, side in enumerate(patch_size):
        patches = patches.unfold(2 + axis, side, side)
    # [N, C, *cells, *sides] -> [N, *cells, C, *sides]
    cells = range(2, 2 + axes)
    patches = patches.permute(0, *cells, 1, *range(2 + axes, 2 + 2 * axes))
    return patches.flatten(1 + axes).flatten(1, axes)


@full_precision
def masked_patch_mse(
    prediction: Tensor, patches: Tensor, hidden: Tensor, *, eps: float = 1e-6
) -> Tensor:
    """Return the mean squared error on hidden patches against per-patch normalised pixels.

    He et al. 2022, MAE, sec. 3, in prose.

    Args:
        prediction, patches: `[N, T, P]`.
        hidden: `[N, T]` bool; the other patches do not count.
        eps: added to a patch's unbiased variance, so that a flat patch has the target 0.
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    target = (patches - mean) * torch.rsqrt(variance + eps)
    return (prediction - target).square().mean(-1)[hidden].mean()
