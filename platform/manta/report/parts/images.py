"""Small pictures: resizing, sheets, data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from manta.report.parts.samples import Array

_LOSSLESS_UP_TO = 64 * 64


def resized(image: Array, side: int) -> Array:
    """Return an image as a square: `[h, w, 3] -> [side, side, 3]` uint8.

    An image that grows keeps its pixels visible instead of being smoothed.
    """
    if image.shape[:2] == (side, side):
        return image
    grows = max(image.shape[:2]) <= side
    kernel = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((side, side), kernel))


def sheet(rows: list[list[Array]], side: int, gap: int = 2, background: int = 255) -> Array:
    """Return images in a grid, `gap` pixels apart: `[H, W, 3]` uint8."""
    height = len(rows) * (side + gap) - gap
    width = max(len(row) for row in rows) * (side + gap) - gap
    canvas = np.full((height, width, 3), background, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            top, left = y * (side + gap), x * (side + gap)
            canvas[top : top + side, left : left + side] = resized(image, side)
    return canvas


def data_uri(image: Array, longest: int = 160) -> str:
    """Return an image as a URI that holds it: PNG up to 64 x 64 pixels, otherwise JPEG.

    It is made smaller where a side is longer than `longest` pixels.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest))
    kind = "png" if picture.width * picture.height <= _LOSSLESS_UP_TO else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=85, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
