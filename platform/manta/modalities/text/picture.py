"""Pictures of sentences: their words, as far as they fit."""

from __future__ import annotations

import textwrap

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

SIDE = 64
"""Side of a picture in pixels."""
_LETTERS, _LINES, _HEIGHT = 10, 5, 12


def written(text: str) -> npt.NDArray[np.uint8]:
    """Return the beginning of a text as `[64, 64, 3]` uint8, black on white."""
    image = Image.new("L", (SIDE, SIDE), 255)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    for number, line in enumerate(textwrap.wrap(text, _LETTERS)[:_LINES]):
        # Some of Pillow's fonts have no letter beyond Latin-1.
        known = line.encode("latin-1", errors="replace").decode("latin-1")
        pen.text((2, 2 + number * _HEIGHT), known, fill=0, font=font)
    return np.repeat(np.asarray(image, dtype=np.uint8)[:, :, None], 3, axis=2)
