"""Inspection of images at an ingest: what is kept of them, and what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from manta.modalities._inspect import Inspected
from manta.modalities.image.decode import MAX_PIXELS, portable, shrink, verify

MOMENTS = tuple(f"{moment} of {channel}" for moment in ("mean", "square") for channel in "RGB")
"""Names of an image's measures: the means of the channels, then of their squares."""


@dataclass(frozen=True)
class ImageInspector:
    """Inspector that decodes an image in full; its length is its shorter side in pixels.

    Args:
        max_side: images with a longer shorter side are shrunk to it and re-encoded; None keeps
            every image unchanged.
        max_pixels: larger images are refused as decompression bombs.
    """

    max_side: int | None = 512
    max_pixels: int = MAX_PIXELS
    column: ClassVar[str] = "image"

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        image = verify(data, max_pixels=self.max_pixels)
        short = min(image.size)
        measures = dict(zip(MOMENTS, _moments(image), strict=True)) if measure else None
        if self.max_side is not None:
            is_large = short > self.max_side
            data = shrink(image, self.max_side) if is_large else portable(data, image)
        return Inspected(data, short, measures)


def _moments(image: Image.Image) -> list[float]:
    """Return the means of the channels, then of their squares, over at most about 2^18 pixels."""
    every = max(1, math.isqrt(image.width * image.height // 2**18))
    pixels = np.asarray(image)[::every, ::every].reshape(-1, 3).astype(np.float64) / 255
    return [*pixels.mean(axis=0).tolist(), *np.square(pixels).mean(axis=0).tolist()]
