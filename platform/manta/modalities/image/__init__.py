"""Images: decoded to squares of RGB uint8, and augmented on the training device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, field_validator

from manta.leaves import Columns
from manta.modalities import MODALITIES, THUMBNAIL, Modality, Picture
from manta.modalities.config import DataConfig
from manta.modalities.image.decode import BadImage, decode, optional_formats, verify
from manta.modalities.image.decoder import ImageDecoder
from manta.modalities.image.inspect import ImageInspector
from manta.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from manta.modalities.image.floor import ColourHistogram
    from manta.modalities.image.preprocess import ImagePreprocess
    from manta.modalities.image.views import ImageViewsConfig
    from manta.ragged import Leaves
    from manta.views import ViewsConfig

__all__ = [
    "BadImage",
    "Image",
    "ImageConfig",
    "ImageDecoder",
    "ImageInspector",
    "decode",
    "optional_formats",
    "verify",
]


class ImageConfig(DataConfig):
    """Settings of the images: where they come from and how they reach a worker."""

    modality: Literal["image"] = Field("image", description="what a sample is: an image")
    image_size: int = Field(32, ge=8, description="side of a global view in pixels")
    decode_size: int | None = Field(
        None, ge=8, description="side of the decoded image; None: set by image_size"
    )

    @field_validator("buckets")
    @classmethod
    def _have_no_lengths(cls, value: bool) -> bool:
        if value:
            raise ValueError("images have no lengths to sort rows by; leave it out")
        return value

    @property
    def canonical_size(self) -> int:
        """Side in pixels of the uint8 square that decoding gives.

        Images larger than 96 pixels get a margin around the largest view, smaller ones none.
        """
        if self.decode_size is not None:
            return self.decode_size
        return self.image_size if self.image_size <= 96 else round(self.image_size * 8 / 7)


@MODALITIES.register("image")
class Image(Modality[ImageConfig]):
    """Photographs and other pictures: JPEG, PNG, WebP, TIFF and what else Pillow reads."""

    Config = ImageConfig
    name = "image"
    views_name = "image"
    noun = "images"
    searchable: ClassVar[tuple[str, ...]] = ("image_size",)

    @property
    def spec(self) -> Spec:
        return Spec.image(self.data.image_size)

    def decoder(self) -> ImageDecoder:
        return ImageDecoder(self.data.canonical_size)

    def inspector(self) -> ImageInspector:
        return ImageInspector()

    def floor(self) -> ColourHistogram:
        from manta.modalities.image.floor import ColourHistogram

        return ColourHistogram()

    def picture(self, row: Columns) -> Picture:
        import torch

        pixels = torch.from_numpy(np.array(row["image"]))
        return Picture(self.pictures({"image": pixels})[0].numpy())

    def picture_of(self, data: bytes, side: int = THUMBNAIL) -> Picture:
        return Picture(decode(data, side))

    def pictures(self, data: Leaves, longest: int = THUMBNAIL) -> Tensor:
        from manta.modalities.image.pictures import shrunk
        from manta.ragged import dense

        return shrunk(dense(data, "image"), longest)

    def pictured(self, data: Leaves) -> list[Picture]:
        return [Picture(pixels) for pixels in self.pictures(data).numpy()]

    def preprocess(self, config: ViewsConfig) -> ImagePreprocess:
        from manta.modalities.image.preprocess import ImagePreprocess
        from manta.modalities.image.views import IMAGENET_MEAN, IMAGENET_STD

        views = cast("ImageViewsConfig", config)
        return ImagePreprocess(
            self.data.image_size,
            views.mean or IMAGENET_MEAN,
            views.std or IMAGENET_STD,
            resize=self.data.canonical_size,
        )

    @classmethod
    def preprocess_from(cls, description: Mapping[str, Any]) -> ImagePreprocess:
        from manta.modalities.image.preprocess import ImagePreprocess

        known = ("image_size", "mean", "std", "resize")
        return ImagePreprocess(**{key: description[key] for key in known if key in description})
