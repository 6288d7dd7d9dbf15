"""Preprocessing of images, which travels with an exported encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.batch import ViewNeeds
from manta.modalities import Decoder
from manta.modalities.image.decoder import ImageDecoder
from manta.modalities.image.views import ImageViews, ImageViewsConfig
from manta.modalities.preprocess import Preprocess, Signature
from manta.ragged import Data
from manta.spec import Spec


class ImagePreprocess(Preprocess):
    """Preprocessing of uint8 images of any size into the input that an encoder was evaluated on.

    The steps are those of `decode` and `ImageViews.plain`: the central square is resized to
    `resize` (bicubic, antialiased, rounded to whole pixel values), then to `image_size` (bilinear,
    antialiased), and normalised. A square image of the right size is only normalised. The filter of
    `decode` reads pixels beyond the edge of the central square and this one does not, so the
    outermost pixels of oblong images differ slightly.

    Args:
        image_size: side of the square that the encoder takes, in pixels.
        mean, std: of the pixels, per channel, in 0..1.
        resize: side of the square to which images are decoded; None: `image_size`.
    """

    modality = "image"
    signature = Signature("images", "uint8", (-1, -1, -1, 3))
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        resize: int | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.spec = Spec.image(image_size)
        self.resize = resize or image_size
        self._mean, self._std = [float(value) for value in mean], [float(value) for value in std]
        self.register_buffer("mean", torch.tensor(self._mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(self._std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return prepared images, `[N, 3, image_size, image_size]` float32.

        Args:
            images: `[N, H, W, 3]` uint8, with sides of at least 2 pixels.
        """
        height, width = images.shape[1:3]
        # With sym_min and index_select the exported graph works for every size; min() or slices
        # would fix it to portrait or landscape.
        side = torch.sym_min(height, width)
        square = torch.arange(side, device=images.device)
        images = images.index_select(1, square + (height - side) // 2).index_select(
            2, square + (width - side) // 2
        )
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = F.interpolate(
            pixels, size=(self.resize, self.resize), mode="bicubic", antialias=True
        )
        pixels = pixels.round().clamp(0, 255)
        if self.resize != self.image_size:
            pixels = F.interpolate(
                pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=True
            )
        return (pixels / 255 - self.mean) / self.std

    def ready(self, data: Mapping[str, Data]) -> Tensor:
        """Return the output of `forward` for decoded rows.

        Args:
            data: `image` `[N, 3, resize, resize]` uint8.
        """
        pixels = cast(Tensor, data["image"]).float()
        if self.resize != self.image_size:
            pixels = F.interpolate(
                pixels, size=(self.image_size, self.image_size), mode="bilinear", antialias=True
            )
        return (pixels / 255 - self.mean) / self.std

    def decoder(self) -> Decoder:
        return ImageDecoder(self.resize)

    def views(self, needs: ViewNeeds) -> ImageViews:
        mean, std = (tuple(one) for one in (self._mean, self._std))
        config = ImageViewsConfig.model_validate({"preset": "simclr", "mean": mean, "std": std})
        return ImageViews(config, needs, image_size=self.image_size)

    def examples(self) -> list[Tensor]:
        return photographs()

    def traced(self) -> Tensor:
        # torch.export would take a batch of one, or sides of equal length, for constants.
        return torch.zeros(2, 40, 48, 3, dtype=torch.uint8)

    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data."""
        return {
            "image_size": self.image_size,
            "resize": self.resize,
            "mean": self._mean,
            "std": self._std,
        }


def photographs() -> list[Tensor]:
    """Return batches of one, two and five photographs of scikit-learn's.

    They are oblong, upright and square.
    """
    import numpy as np
    from sklearn.datasets import load_sample_images

    both = torch.from_numpy(np.stack(load_sample_images().images))  # [2, 427, 640, 3]
    tiles = torch.stack([both[0, :96, 96 * i : 96 * (i + 1)] for i in range(5)])
    return [both[:1], both[:, :, 200:500], tiles]
