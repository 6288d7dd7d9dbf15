"""The view pipeline: from a canonical uint8 batch to the views of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from manta.batch import View, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.image.views.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageViewsConfig,
    ViewSpec,
    specify,
)
from manta.modalities.image.views.draws import TRANSFORM_WIDTH, draw
from manta.modalities.image.views.kernels import recolour, resample, solarize
from manta.modalities.image.views.style import STYLE, Style, draw_styles, restyle
from manta.ragged import Data
from manta.spec import Spec
from manta.views import VIEWS, BatchPart, Feature, Samples, ViewPipeline, generator


@VIEWS.register("image")
class ImageViews(ViewPipeline[ImageViewsConfig]):
    """Crops, flips, colour, blur and style of images.

    Everything happens on the device of the images, in float32, without waiting for the device.

    Args:
        config: the user's.
        needs: the objective's.
        image_size: side of a global view in pixels.
    """

    Config = ImageViewsConfig
    honours: ClassVar[frozenset[Feature]] = frozenset({"target", "same", "mask", "preset"})
    transform_width = TRANSFORM_WIDTH

    def __init__(self, config: ImageViewsConfig, needs: ViewNeeds, *, image_size: int) -> None:
        if needs.masks and needs.mask_grid is None:
            raise ConfigError(
                "this objective masks tokens, which the encoder lacks; choose a vision transformer"
            )
        self.specs = specify(config, needs, image_size=image_size)
        self.needs = needs
        self.image_size = image_size
        self.spec = Spec.image(image_size)
        sizes = dict.fromkeys(one.size for one in self.specs if one.size != image_size)
        self.local_specs = tuple(map(Spec.image, sizes))
        self.smallest = min(one.size for one in self.specs)
        self.rows_are_independent = all(one.batch_style == 0 for one in self.specs)
        self.mean = config.mean or IMAGENET_MEAN
        self.std = config.std or IMAGENET_STD
        self._on_device: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(cls, config: ImageViewsConfig, needs: ViewNeeds, samples: Samples) -> ImageViews:
        return cls(config, needs, image_size=samples.spec.side)

    def make(self, data: Mapping[str, Data], part: BatchPart) -> list[View]:
        """Return the views of `image` `[B, 3, H, W]` uint8."""
        images = cast(Tensor, data["image"])
        height, width = images.shape[-2:]
        drawn = draw(
            self.specs,
            source=(height, width),
            rows=part.rows,
            global_batch=part.global_batch,
            stream=part.stream,
            asks=self.needs.asks,
        )
        draws = drawn.to(part.device)
        views = []
        pixels = images.float().div_(255)
        styles = self._styles(pixels, part)
        for i, (spec, style) in enumerate(zip(self.specs, styles, strict=True)):
            sigma = draws.sigma[i] if spec.blur > 0 else None
            source = pixels if style is None else restyle(pixels, *style)
            view = resample(source, draws.box[i], draws.flip[i], sigma, size=spec.size)
            view = recolour(view, draws.colour[i], draws.shift[i])
            if spec.solarize > 0:
                view = solarize(view, draws.solarize[i])
            # Masks follow in the same stream, so the order of the views is part of a run.
            mask = self.mask(self._tokens(spec), part, ask=self.needs.asks[i])
            facts = (draws.box[i], draws.flip[i], mask, draws.transform[i])
            views.append(View(self._normalise(view), spec.role, *facts))
        return views

    @torch.no_grad()
    def plain(self, data: Mapping[str, Data]) -> Tensor:
        """Resize and normalise `image` `[B, 3, H, W]` uint8, as for evaluation."""
        pixels = cast(Tensor, data["image"]).float().div_(255)
        size = (self.image_size, self.image_size)
        if pixels.shape[-2:] != size:
            pixels = interpolate(pixels, size, mode="bilinear", antialias=True)
        return self._normalise(pixels)

    def shown(self, view: View) -> Tensor:
        """Return a view's colours in 0..1, `[B, 3, h, w]`."""
        return self.denormalise(view.tensor)

    def denormalise(self, data: Tensor) -> Tensor:
        """Return a view's `[B, 3, h, w]` as colours in [0, 1], for display."""
        mean, std = self._constants(data.device)
        return (data.float() * std + mean).clamp_(0, 1)

    def _styles(self, pixels: Tensor, part: BatchPart) -> list[Style | None]:
        """Draw the style of each view, from a random stream of its own."""
        if not any(spec.batch_style > 0 for spec in self.specs):
            return [None] * len(self.specs)
        return draw_styles(self.specs, pixels, generator(part.seed, part.step, STYLE))

    def _normalise(self, pixels: Tensor) -> Tensor:
        mean, std = self._constants(pixels.device)
        return pixels.sub_(mean).div_(std)

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, `[3, 1, 1]`.

        They are kept per device, since the host waits for a copy to a device.
        """
        if device not in self._on_device:
            values = (self.mean, self.std)
            mean, std = (torch.tensor(value).view(3, 1, 1).to(device) for value in values)
            self._on_device[device] = mean, std
        return self._on_device[device]

    def _tokens(self, spec: ViewSpec) -> tuple[int, ...]:
        """Return the grid of a view's tokens; (0,) where the objective masks nothing."""
        # Local views have as many fewer tokens along a side as they have fewer pixels.
        grid = self.needs.mask_grid or (0,)
        return tuple(side * spec.size // self.image_size for side in grid)
