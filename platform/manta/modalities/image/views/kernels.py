"""The pixel operations: a few batched matrix products for any augmentation.

Cropping, antialiased resizing, flipping and blurring are linear and separable: each sample has one
matrix for its rows and one for its columns. Everything between is linear in colour: each sample has
one 3x3 matrix and a shift.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import threshold


def resample(
    images: Tensor, box: Tensor, flip: Tensor, sigma: Tensor | None, *, size: int
) -> Tensor:
    """Crop, resize, flip and blur `[B, 3, H, W]` float images to `[B, 3, size, size]`.

    Args:
        box: `[B, 4]` left, top, right, bottom in source pixels.
        flip: `[B]` bool, mirrors the columns.
        sigma: `[B]` standard deviation of the blur in pixels of the result, 0 for none; or None if
            no sample is blurred.
    """
    left, top, right, bottom = box.unbind(1)
    height, width = images.shape[-2:]
    rows = triangle_matrix(top, bottom, None, size=size, source=height)
    columns = triangle_matrix(left, right, flip, size=size, source=width)
    if sigma is not None:
        blur = gaussian_matrix(sigma, size=size)
        rows, columns = blur @ rows, blur @ columns
    narrow = (images.flatten(1, 2) @ columns.mT).view(-1, 3, height, size)
    return torch.matmul(rows.unsqueeze(1), narrow)


def triangle_matrix(
    start: Tensor, stop: Tensor, flip: Tensor | None, *, size: int, source: int
) -> Tensor:
    """Return `[B, size, source]` that resize `[start, stop)` of a line by a triangle filter.

    The filter is antialiasing: as wide as a result's pixel, and at least two source pixels; rows
    sum to 1. Pixels outside of the crop do not count, as if it had been cut out first.
    """
    scale = (stop - start) / size
    reach = scale.clamp(min=1).unsqueeze(1)
    target = torch.arange(size, device=start.device) + 0.5
    if flip is not None:
        target = torch.where(flip.unsqueeze(1), size - target, target)
    centre = target * scale.unsqueeze(1) / reach
    pixel = torch.arange(source, device=start.device) + 0.5
    inside = (pixel > start.unsqueeze(1)) & (pixel < stop.unsqueeze(1))
    # An infinitely distant pixel gets the weight 0 without a mask as large as the matrix.
    position = torch.where(inside, (pixel - start.unsqueeze(1)) / reach, torch.inf)
    negated = (position.unsqueeze(1) - centre.unsqueeze(2)).abs_().clamp_(max=1).sub_(1)
    return negated.div_(negated.sum(2, keepdim=True))


def gaussian_matrix(sigma: Tensor, *, size: int) -> Tensor:
    """Return `[B, size, size]` that blur a line of pixels.

    Rows sum to 1, at the borders too; it is the identity where sigma is 0.
    """
    pixel = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    squared = (pixel.unsqueeze(1) - pixel).square_()
    # The floor of sigma leaves the centre's weight alone.
    exponent = squared * (-0.5 / sigma.clamp(min=1e-3).square())[:, None, None]
    # Cutting the tail off at e^-18 keeps subnormal numbers away, with which a CPU is ten times as
    # slow.
    weights = threshold(exponent, -18.0, -torch.inf).exp_()
    return weights.div_(weights.sum(2, keepdim=True))


def recolour(images: Tensor, colour: Tensor, shift: Tensor) -> Tensor:
    """Return `colour @ pixel + shift @ mean colour`, clamped to [0, 1] once.

    torchvision clamps after each operation, which loses what a later one would have brought back
    into range.
    """
    mean = images.mean((2, 3)).unsqueeze(2)
    return torch.baddbmm(shift @ mean, colour, images.flatten(2)).clamp_(0, 1).view_as(images)


def solarize(images: Tensor, where: Tensor) -> Tensor:
    """Invert in place what is at least half bright, in the samples of `where: [B]` bool.

    Values are in [0, 1].
    """
    # min(p, 1 - p) is the inversion; min(p, 2 - p) changes nothing.
    mirror = torch.where(where, 1.0, 2.0)[:, None, None, None]
    return torch.minimum(images, mirror - images, out=images)
