"""Source of scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, which needs no network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from manta.data.sources._base import FILES_PER_UNIT, SOURCES, Sample, Source
from manta.files import Place

ROWS = 1797


@SOURCES.register("digits")
class Digits(Source):
    """Handwritten digits that come with scikit-learn; the location is the word `digits`."""

    kind = "digits"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 2 if place.url == "digits" else 0

    def units(self) -> Iterator[range]:
        for start in range(0, ROWS, FILES_PER_UNIT):
            yield range(start, min(start + FILES_PER_UNIT, ROWS))

    def read(self, unit: range) -> Iterator[Sample]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        for row in unit:
            grey = np.rint(digits.images[row] * (255 / 16)).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(grey).save(file, "PNG")
            yield Sample(f"digits/{row:04d}.png", file.getvalue(), int(digits.target[row]))

    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def identity(self) -> list[Any]:
        return ["digits", ROWS]
