"""Views of images: batched augmentations, with presets from papers."""

from manta.modalities.image.views.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PRESETS,
    ImageViewsConfig,
    ViewSpec,
    specify,
)
from manta.modalities.image.views.pipeline import ImageViews

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PRESETS",
    "ImageViews",
    "ImageViewsConfig",
    "ViewSpec",
    "specify",
]
