"""Reconstruction losses on hidden patches."""

from __future__ import annotations

import torch
from torch import Tensor

from manta.functional._precision import full_precision


def patchify(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return patches of `h x w` pixels, row by row: `[N, C, H, W] -> [N, T, C * h * w]`."""
    height, width = patch_size
    # [N, C, rows, columns, h, w]
    patches = images.unfold(2, height, height).unfold(3, width, width)
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


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
