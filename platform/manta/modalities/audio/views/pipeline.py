"""The view pipeline of clips: from decoded rows to the views of an objective."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from manta.batch import View, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.audio.decoder import LEAF
from manta.modalities.audio.features import Features
from manta.modalities.audio.picture import painted, spectrogram
from manta.modalities.audio.views.config import AudioViewsConfig, ViewSpec, specify
from manta.modalities.audio.views.draws import (
    TRANSFORM_WIDTH,
    Draws,
    Partner,
    draw,
    draw_partners,
)
from manta.modalities.audio.views.kernels import (
    add_fade,
    add_noise,
    blend_levels,
    blend_waves,
    crop,
    hide,
)
from manta.modalities.audio.windows import cut
from manta.ragged import Data, Ragged
from manta.views import ALL_BUT_FIELDS, VIEWS, BatchPart, Samples, ViewPipeline


@VIEWS.register("audio")
class AudioViews(ViewPipeline[AudioViewsConfig]):
    """Windows, speed, gain and noise of waves; crops, fades and masks of their spectrograms.

    Everything happens on the device of the waves, in float32, without waiting for the device. Clips
    are mixed with others of the same lane of the batch, which are on the same rank.

    Args:
        config: the user's.
        needs: the objective's.
        features: that the encoder takes.
    """

    Config = AudioViewsConfig
    honours = ALL_BUT_FIELDS
    transform_width = TRANSFORM_WIDTH

    def __init__(self, config: AudioViewsConfig, needs: ViewNeeds, features: Features) -> None:
        if needs.masks and needs.mask_grid is None:
            raise ConfigError(
                "this objective masks tokens, which the encoder lacks; choose a vision transformer"
            )
        self.needs, self.features = needs, features
        self.spec = features.spec(features.samples)
        local = _local_samples(config, features)
        self.specs = specify(
            config,
            needs,
            samples=features.samples,
            local_samples=local,
            shortened=lambda share: _share_of(features, share),
        )
        sizes = dict.fromkeys(one.samples for one in self.specs if one.samples != features.samples)
        self.local_specs = tuple(map(features.spec, sizes))
        if features.bands is not None:
            self.smallest = min(min(one.sides) for one in (self.spec, *self.local_specs))
        self._on_device: dict[torch.device, Features] = {}

    @classmethod
    def of(cls, config: AudioViewsConfig, needs: ViewNeeds, samples: Samples) -> AudioViews:
        return cls(config, needs, Features.of(samples.data, config.mean, config.std))

    def make(self, data: Mapping[str, Data], part: BatchPart) -> list[View]:
        """Return the views of `audio`, ragged rows `[T]` float32."""
        waves = cast(Ragged, data[LEAF])
        drawn = draw(
            self.specs,
            rows=part.rows,
            global_batch=part.global_batch,
            stream=part.stream,
            device=part.device,
            asks=self.needs.asks,
        )
        partners = draw_partners(self.specs, part)
        views = []
        each = zip(self.specs, drawn, partners, self.needs.asks, strict=True)
        for spec, one, partner, ask in each:
            view, box = self._view(waves, spec, one, partner)
            # Masks follow in the same stream, so the order of the views is part of a run.
            mask = self.mask(self._tokens(spec), part, ask=ask)
            transform = one.placed(waves.lengths).transform
            views.append(View(view, spec.role, box, None, mask, transform))
        return views

    @torch.no_grad()
    def plain(self, data: Mapping[str, Data]) -> Tensor:
        """Return the middle of each row, as the encoder takes it for evaluation."""
        waves = cast(Ragged, data[LEAF])
        return self._tools(waves.device).middle(waves)

    def shown(self, view: View) -> Tensor:
        """Return spectrograms of a view, `[B, 3, 64, 64]` in 0..1."""
        tools = self.features
        rows = view.tensor[:, 0].float().cpu().mul(tools.std).add(tools.mean).numpy()
        if tools.bands is None:
            pictures = [spectrogram(row, tools.rate) for row in rows]
        else:
            pictures = [painted(row) for row in rows]
        stacked = torch.stack([torch.from_numpy(picture) for picture in pictures])
        return stacked.permute(0, 3, 1, 2).float().div_(255)

    def _view(
        self, waves: Ragged, spec: ViewSpec, drawn: Draws, partner: Partner | None
    ) -> tuple[Tensor, Tensor]:
        """Return a view of rows, and its box in samples."""
        speed = drawn.speed if spec.speed > 0 else None
        span, starts = drawn.span, drawn.starts(waves.lengths)
        starts = starts.floor() if speed is None else starts
        clip = cut(waves, starts, spec.samples, speed)
        if spec.gain > 0:
            clip = clip * drawn.gain.to(clip.dtype).unsqueeze(1)
        if spec.noise > 0:
            clip = add_noise(clip, drawn.keys, drawn.noisy, drawn.snr)
        tools = self._tools(waves.device)
        levels = tools.levels(clip)
        if partner is not None:
            levels = (blend_waves if tools.bands is None else blend_levels)(levels, *partner)
        view = tools.scaled(levels)
        ends = starts + span
        if tools.bands is not None:
            view = _distorted(view, spec, drawn)
            starts, ends = starts + drawn.left * span, starts + (drawn.left + drawn.width) * span
        return view.unsqueeze(1), torch.stack([starts, ends], dim=1).float()

    def _tokens(self, spec: ViewSpec) -> tuple[int, ...]:
        """Return the grid of a view's tokens; (0,) where the objective masks nothing."""
        if self.needs.mask_grid is None:
            return (0,)
        # Shorter views have as many fewer tokens along time, the last side.
        *others, time = self.needs.mask_grid
        length, whole = (one.sides[-1] for one in (self.features.spec(spec.samples), self.spec))
        return (*others, time * length // whole)

    def _tools(self, device: torch.device) -> Features:
        """Return the features on a device, where they are kept."""
        if device not in self._on_device:
            self._on_device[device] = copy.deepcopy(self.features).to(device)
        return self._on_device[device]


def _distorted(view: Tensor, spec: ViewSpec, drawn: Draws) -> Tensor:
    """Return normalised levels after crop, fade and masks."""
    if spec.is_cropped:
        box = {"top": drawn.top, "height": drawn.height, "left": drawn.left, "width": drawn.width}
        view = crop(view, **box)
    if spec.fade > 0:
        view = add_fade(view, drawn.fade)
    if spec.mask_mels > 0 or spec.mask_time > 0:
        view = hide(view, drawn.masks)
    return view


def _local_samples(config: AudioViewsConfig, features: Features) -> int:
    """Return the samples of a local view: half of the frames of a global one by default."""
    if config.local_seconds is not None:
        return max(round(features.rate * config.local_seconds), 2)
    return _share_of(features, 1 / 2)


def _share_of(features: Features, share: float) -> int:
    """Return the samples of a share of a global view, in whole frames of a spectrogram."""
    bands = features.bands
    if bands is None:
        return max(int(features.samples * share), 2)
    return bands.samples(max(int(bands.frames(features.samples) * share), 2))
