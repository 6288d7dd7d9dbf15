"""Decoder of images into one leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manta.leaves import Array, Layout, Leaf
from manta.modalities._decoder import Draw
from manta.modalities.image.decode import decode


@dataclass(frozen=True, slots=True)
class ImageDecoder:
    """Decoder of an image into `{"image": [3, size, size] uint8}`.

    Args:
        size: side of the square, in pixels.
    """

    size: int
    draws: ClassVar[bool] = False

    @property
    def layout(self) -> Layout:
        return {"image": Leaf("uint8", (3, self.size, self.size))}

    def __call__(self, data: bytes, draw: Draw | None) -> dict[str, Array]:
        return {"image": decode(data, self.size).transpose(2, 0, 1)}
