"""Batch style standardisation: all images of a batch in the style of one of them.

Scalbert et al. 2024, S206. The style of an image is the amplitude of its low frequencies, the
content their phase and the rest. The batch takes the style of one of its images, drawn for each
view by itself: of B images, two views have the same one with probability 1 / B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from manta.modalities.image.views.config import ViewSpec

STYLE = 1
"""Purpose of the random number stream of the styles."""


class Style(NamedTuple):
    """The style of a view's batch.

    Attributes:
        reference: `[3, H, W]`, the image whose style it is.
        area: of the spectrum, in (0, 1].
    """

    reference: Tensor
    area: float


def draw_styles(
    specs: Sequence[ViewSpec], pixels: Tensor, stream: torch.Generator
) -> list[Style | None]:
    """Draw a style for each view, or None for views that keep their own.

    Every rank draws the same image of the batch that all ranks' `pixels: [B, 3, H, W]` form, and
    the rank that has it sends it.
    """
    uniform = torch.rand(3, len(specs), generator=stream, dtype=torch.float64).T.tolist()
    ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    rank = dist.get_rank() if ranks > 1 else 0
    references = pixels.new_zeros(len(specs), *pixels.shape[1:])
    for i, (_, place, _) in enumerate(uniform):
        owner, row = divmod(int(place * ranks * len(pixels)), len(pixels))
        if owner == rank:
            references[i] = pixels[row]
    if ranks > 1:
        dist.all_reduce(references)
    styles: list[Style | None] = []
    for spec, reference, (coin, _, share) in zip(specs, references, uniform, strict=True):
        least, largest = spec.style_area
        style = Style(reference, least + share * (largest - least))
        styles.append(style if coin < spec.batch_style else None)
    return styles


def restyle(images: Tensor, reference: Tensor, area: float) -> Tensor:
    """Return `[B, 3, H, W]` in 0..1 with the reference's amplitudes at low frequencies.

    These are the centred part of the spectrum that has `area`.
    """
    height, width = images.shape[-2:]
    half = math.sqrt(area) / 2
    rows = torch.fft.fftfreq(height, device=images.device).abs() <= half
    columns = torch.fft.rfftfreq(width, device=images.device) <= half
    spectrum, amplitude = torch.fft.rfft2(images), torch.fft.rfft2(reference).abs()
    styled = torch.polar(amplitude.expand_as(spectrum).contiguous(), spectrum.angle())
    mixed = torch.where(rows[:, None] & columns, styled, spectrum)
    images = torch.fft.irfft2(mixed, s=(height, width))
    return images.clamp_(0, 1)
