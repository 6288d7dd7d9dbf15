"""Common corruptions of images at five severities, in torch.

Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations". Names and constants are those of ImageNet-C; certain are the kinds and that there
are five severities. Ours: lengths, which are in pixels of 224, follow the image's side; a disc's
edge is antialiased by area; fog is a sum of octaves of smooth noise rather than diamond-square. So
numbers do not compare with published ones. Left out are frost, which needs photographs, snow, glass
blur and elastic transforms.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224
"""Side of the images whose pixels the constants count."""

Level = tuple[float, ...]
Apply = Callable[[Tensor, Level, Generator], Tensor]
CORRUPTIONS: dict[str, tuple[tuple[Level, ...], Apply]] = {}
"""By name: the constants of each severity, and `(pixels [B, 3, S, S] in 0..1, constants, CPU
generator) -> pixels`."""


def corrupt(images: Tensor, name: str, severity: int, generator: Generator) -> Tensor:
    """Return corrupted uint8 `[B, 3, S, S]` images.

    `generator` is the CPU's, so that every device draws the same.
    """
    levels, apply = CORRUPTIONS[name]
    pixels = apply(images.float() / 255, levels[severity - 1], generator)
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _corruption(*levels: float | Level) -> Callable[[Apply], Apply]:
    def add(apply: Apply) -> Apply:
        each = tuple(level if isinstance(level, tuple) else (level,) for level in levels)
        CORRUPTIONS[apply.__name__] = (each, apply)
        return apply

    return add


@_corruption(0.08, 0.12, 0.18, 0.26, 0.38)
def gaussian_noise(pixels: Tensor, level: Level, generator: Generator) -> Tensor:
    (std,) = level
    return pixels + std * torch.randn(pixels.shape, generator=generator).to(pixels.device)


@_corruption(60, 25, 12, 5, 3)
def shot_noise(pixels: Tensor, level: Level, generator: Generator) -> Tensor:
    (photons,) = level
    return torch.poisson(pixels.cpu() * photons, generator).to(pixels.device) / photons


@_corruption(0.03, 0.06, 0.09, 0.17, 0.27)
def impulse_noise(pixels: Tensor, level: Level, generator: Generator) -> Tensor:
    (amount,) = level
    draw = torch.rand(pixels.shape, generator=generator).to(pixels.device)
    return pixels.masked_fill(draw < amount / 2, 0).masked_fill(draw > 1 - amount / 2, 1)


@_corruption(3, 4, 6, 8, 10)
def defocus_blur(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    radius = level[0] * pixels.shape[-1] / SIDE
    reach = math.ceil(radius)
    axis = torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype)
    disc = (radius + 0.5 - torch.hypot(axis[:, None], axis)).clamp(0, 1)
    kernel = (disc / disc.sum()).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(pixels, (reach,) * 4, mode="reflect"), kernel, groups=3)


@_corruption((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
def motion_blur(pixels: Tensor, level: Level, generator: Generator) -> Tensor:
    """Blur by half a Gaussian along a line of `level[0]` pixels.

    Its angle is drawn within 45 degrees of the horizontal.
    """
    length, spread = (pixel * pixels.shape[-1] / SIDE for pixel in level)
    angle = ((torch.rand(len(pixels), generator=generator) - 0.5) * (math.pi / 2)).to(pixels.device)
    along = torch.linspace(0, length, math.ceil(2 * length) + 1)
    weights = (-0.5 * (along / spread).square()).exp()
    blurred = torch.zeros_like(pixels)
    for distance, weight in zip(along.tolist(), (weights / weights.sum()).tolist(), strict=True):
        shift = 2 * distance / pixels.shape[-1]  # a side is 2 long in `affine_grid`
        right, down = shift * angle.cos(), shift * angle.sin()
        blurred += weight * _warp(pixels, torch.ones_like(angle), right, down)
    return blurred


@_corruption((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
def zoom_blur(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    """Average the image and its zooms, from 1 to before `level[0]`."""
    zooms = torch.arange(1, level[0], level[1], device=pixels.device)
    still = pixels.new_zeros(len(pixels))
    total = pixels.clone()
    for zoom in zooms:
        total += _warp(pixels, (1 / zoom).expand(len(pixels)), still, still)
    return total / (len(zooms) + 1)


@_corruption((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
def fog(pixels: Tensor, level: Level, generator: Generator) -> Tensor:
    """Add a haze of noise whose octaves weigh less by a factor of `level[1]` each."""
    amount, decay = level
    side = pixels.shape[-1]
    haze = pixels.new_zeros(len(pixels), 1, side, side)
    for octave in range(max(side.bit_length() - 1, 1)):
        cells = 2 ** (octave + 1)
        noise = torch.rand(len(pixels), 1, cells, cells, generator=generator).to(pixels.device)
        smooth = F.interpolate(noise, (side, side), mode="bicubic", align_corners=False)
        haze += smooth * decay**-octave
    low, high = haze.amin((2, 3), keepdim=True), haze.amax((2, 3), keepdim=True)
    brightest = pixels.amax((1, 2, 3), keepdim=True)
    return (pixels + amount * (haze - low) / (high - low)) * brightest / (brightest + amount)


@_corruption(0.1, 0.2, 0.3, 0.4, 0.5)
def brightness(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    """Raise the value of HSV; hue and saturation stay."""
    value = pixels.amax(1, keepdim=True)
    raised = (value + level[0]).clamp(max=1)
    return torch.where(value > 0, pixels * (raised / value.clamp(min=1e-6)), raised)


@_corruption(0.4, 0.3, 0.2, 0.1, 0.05)
def contrast(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    mean = pixels.mean((2, 3), keepdim=True)
    return mean + level[0] * (pixels - mean)


@_corruption(0.6, 0.5, 0.4, 0.3, 0.25)
def pixelate(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    small = F.interpolate(pixels, size=(max(int(pixels.shape[-1] * level[0]), 1),) * 2, mode="area")
    return F.interpolate(small, size=pixels.shape[-2:], mode="nearest-exact")


@_corruption(25, 18, 15, 10, 7)
def jpeg_compression(pixels: Tensor, level: Level, _generator: Generator) -> Tensor:
    images = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.empty_like(images)
    for place, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(level[0]))
        decoded[place] = Image.open(file)
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(pixels.device) / 255


def _warp(pixels: Tensor, scale: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Sample each image at `scale * x + shift`, mirrored at its borders; a side is 2 long.

    Args:
        scale, right, down: `[B]` each.
    """
    none = torch.zeros_like(scale)
    theta = torch.stack([scale, none, right, none, scale, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
