"""The random numbers of a step's views, turned into arguments of the kernels.

All numbers are drawn for the global batch on the CPU. A rank takes its rows of them, so that a
sample's views do not depend on how many ranks there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manta.batch import Ask
from manta.modalities.image.views.config import ViewSpec
from manta.views import with_windows

ASPECT = (3 / 4, 4 / 3)
"""Width over height of a crop, as in Inception and every method since."""
BLUR_SIGMA = (0.1, 2.0)
"""Range of the blur's standard deviation in pixels, as in SimCLR."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of RGB in grey (ITU-R BT.601)."""
TRANSFORM_WIDTH = 12
"""Numbers of `Draws.transform`."""
_NUMBERS = 18  # uniform numbers for one view of one sample
_WINDOW = (0, 1, 2, 3, 4)
"""Those of them that decide the crop and the flip."""

_GREY = torch.tensor([LUMA] * 3, dtype=torch.float64)
_EYE = torch.eye(3, dtype=torch.float64)
_YIQ = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
# Turns (I, Q) by 90 degrees, red to green.
_QUARTER = torch.tensor([[0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
_HUE_QUARTER = torch.linalg.inv(_YIQ) @ _QUARTER @ _YIQ


@dataclass(frozen=True, slots=True)
class Draws:
    """Parameters of V views of B samples: float64 on the CPU as drawn, float32 on a device.

    Attributes:
        box: `[V, B, 4]`, left, top, right, bottom in source pixels; integers.
        flip: `[V, B]` bool.
        sigma: `[V, B]` of the blur in pixels of the view; 0 for none.
        solarize: `[V, B]` bool.
        colour: `[V, B, 3, 3]`, the map of a pixel's deviation from the mean colour.
        shift: `[V, B, 3, 3]`; its product with the mean colour is added to `colour @ pixel`.
        transform: `[V, B, 12]`, the transformation in numbers of the order of 1: left, top, width
            and height of the crop as fractions of the source, flip, blur over its largest,
            solarize, brightness, contrast and saturation less 1, hue in turns, grayscale. It leaves
            out the order of the four colour operations, and the reference and the area of
            `batch_style`: views that differ only in these have the same numbers.
    """

    box: Tensor
    flip: Tensor
    sigma: Tensor
    solarize: Tensor
    colour: Tensor
    shift: Tensor
    transform: Tensor

    def to(self, device: torch.device) -> Draws:
        """Return the parameters in float32 on `device`, by one transfer without waiting for it."""
        scalars = [self.box, self.flip, self.sigma, self.solarize]
        parts = [*scalars, self.colour.flatten(2), self.shift.flatten(2), self.transform]
        packed = torch.cat([part.float().reshape(*part.shape[:2], -1) for part in parts], dim=-1)
        # Only pinned memory is copied without the host waiting.
        packed = packed.pin_memory() if device.type == "cuda" else packed
        moved = packed.to(device, non_blocking=True)
        widths = [4, 1, 1, 1, 9, 9, TRANSFORM_WIDTH]
        box, flip, sigma, solarize, colour, shift, transform = torch.split(moved, widths, dim=-1)
        return Draws(
            box=box,
            flip=flip.squeeze(-1) > 0,
            sigma=sigma.squeeze(-1),
            solarize=solarize.squeeze(-1) > 0,
            colour=colour.reshape(self.colour.shape),
            shift=shift.reshape(self.shift.shape),
            transform=transform,
        )


def draw(
    specs: Sequence[ViewSpec],
    *,
    source: tuple[int, int],
    rows: slice,
    global_batch: int,
    stream: torch.Generator,
    asks: Sequence[Ask] = (),
) -> Draws:
    """Draw the parameters of `rows` of the global batch, for sources of `(height, width)` pixels.

    Everything is computed in float64 and rounded last, so that the bits do not depend on which rows
    are drawn: vectorised functions differ in a last bit between the rows of a full vector and the
    rest.
    """
    shape = (_NUMBERS, len(specs), global_batch)
    u = torch.rand(shape, generator=stream, dtype=torch.float64)[..., rows]
    u = with_windows(u, asks, _WINDOW)
    area, aspect, left, top, flip, jittered, grey, blurred, sigma, solarize = u[:10]
    box = crop_boxes(area, aspect, left, top, crop=_column(specs, "crop"), source=source)

    amount = _column(specs, "jitter")
    low, high = (1 - amount).clamp_(min=0), 1 + amount
    low[3], high[3] = -amount[3], amount[3]
    drawn = torch.lerp(low, high, u[10:14])
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64).view(4, 1, 1)
    factors = torch.where(jittered < _column(specs, "jitter_prob"), drawn, neutral)
    grey = grey < _column(specs, "grayscale")
    colour, mean_colour = colour_maps(factors, u[14:18].argsort(0), grey)

    least, largest = (torch.full_like(sigma, bound) for bound in BLUR_SIGMA)
    sigma = torch.lerp(least, largest, sigma)
    sigma = torch.where(blurred < _column(specs, "blur"), sigma, 0.0)
    flip, solarize = flip < _column(specs, "flip"), solarize < _column(specs, "solarize")
    (height, width), (x, y, right, bottom) = source, box.unbind(-1)
    crop = [x / width, y / height, (right - x) / width, (bottom - y) / height]
    transform = [*crop, flip, sigma / BLUR_SIGMA[1], solarize, *(factors - neutral), grey]
    return Draws(
        box=box,
        flip=flip,
        sigma=sigma,
        solarize=solarize,
        colour=colour,
        shift=mean_colour - colour,
        transform=torch.stack([number.double() for number in transform], dim=-1),
    )


def crop_boxes(
    area: Tensor,
    aspect: Tensor,
    left: Tensor,
    top: Tensor,
    *,
    crop: Tensor,
    source: tuple[int, int],
) -> Tensor:
    """Return `[..., 4]` boxes of whole pixels inside a `(height, width)` source.

    `area`, `aspect`, `left` and `top` are uniform numbers in [0, 1). The area is uniform in `crop`
    (a pair of bounds); the aspect is log-uniform over those of `ASPECT` with which that area fits.
    A source so long that no such aspect fits gets the nearest that does.

    Ours: torchvision draws again until both fit, and so gets large crops more rarely than
    configured.
    """
    height, width = source
    pixels = torch.lerp(crop[0], crop[1], area) * (height * width)
    narrowest, widest = pixels / height**2, width**2 / pixels
    low = narrowest.clamp(min=ASPECT[0]).minimum(widest)
    high = widest.clamp(max=ASPECT[1]).maximum(narrowest)
    ratio = torch.lerp(low.log(), high.log(), aspect).exp()
    w = (pixels * ratio).sqrt().round().clamp(1, width)
    h = (pixels / ratio).sqrt().round().clamp(1, height)
    x, y = (left * (width - w + 1)).floor(), (top * (height - h + 1)).floor()
    return torch.stack([x, y, x + w, y + h], dim=-1)


def colour_maps(factors: Tensor, order: Tensor, grey: Tensor) -> tuple[Tensor, Tensor]:
    """Compose jitter in a per-sample order, then grayscale, into two linear maps `[..., 3, 3]`.

    Brightness, saturation and hue are linear in colour; contrast adds a share of the mean's grey.
    So deviations from the mean colour see one product of matrices, the mean another, and no image
    is needed to compose them: a pixel p of an image of mean m becomes `A (p - m) + S m`.

    Args:
        factors: `[4, ...]` brightness, contrast, saturation, hue (turns).
        order: `[4, ...]` a permutation of 0..3: the operation that comes first, second, ...
        grey: `[...]` bool.

    Returns:
        A and S.
    """
    brightness, contrast, saturation, hue = factors[..., None, None]
    scale = brightness * _EYE
    saturate = _GREY + saturation * (_EYE - _GREY)
    rotate = hue_rotation(hue)
    deviation = torch.stack([scale, contrast * _EYE, saturate, rotate])
    mean = torch.stack([scale, _GREY + contrast * (_EYE - _GREY), saturate, rotate])
    maps = torch.stack([deviation, mean], dim=1)  # operation, deviation or mean, ..., 3, 3

    def at(position: int) -> Tensor:
        chosen = order[position][None, None, ..., None, None].expand(1, *maps.shape[1:])
        return maps.gather(0, chosen)[0]

    composed = at(3) @ at(2) @ at(1) @ at(0)
    composed = torch.where(grey[..., None, None], _GREY @ composed, composed)
    return composed[0], composed[1]


def hue_rotation(turns: Tensor) -> Tensor:
    """Return the `[..., 3, 3]` rotations of YIQ's chroma plane by `[..., 1, 1]` turns.

    They keep the luma, as DALI does. torchvision shifts the hue of HSV instead, which is not linear
    and keeps the largest channel.
    """
    angle = 2 * math.pi * turns
    rotation: Tensor = _GREY + angle.cos() * (_EYE - _GREY) + angle.sin() * _HUE_QUARTER
    return rotation


def _column(specs: Sequence[ViewSpec], name: str) -> Tensor:
    """Return `[V, 1]` of a number of the specs, or `[n, V, 1]` of a tuple of n numbers."""
    values = torch.tensor([getattr(spec, name) for spec in specs], dtype=torch.float64)
    return values.movedim(-1, 0).unsqueeze(-1) if values.ndim == 2 else values.unsqueeze(-1)
