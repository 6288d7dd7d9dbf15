"""The random numbers of a step's views, turned into arguments of the kernels.

All are drawn for the global batch on the CPU, and a rank takes its rows of them, so that a clip's
views do not depend on how many ranks there are. Noise, of which every sample needs a number, is a
hash of one of a row's numbers and the sample's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from manta.batch import Ask
from manta.modalities.audio.views.config import Range, ViewSpec
from manta.views import BatchPart, arranged, generator, has_distances, with_windows

_NUMBERS = 17  # uniform numbers for one view of one row
_WINDOW = (0, 1, 2, 7, 8, 9, 10)
"""Those of them that decide the window: its place, speed and crop."""
_MIXING = 1
"""Purpose of the random number stream of what is mixed."""
TRANSFORM_WIDTH = 10
"""Numbers of `Draws.transform`."""
_SPEED, _GAIN = 0.1, 6.0
"""Units of speed and gain in `Draws.transform`."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What one view of B rows does, float64 on the rows' device; `[B]` each.

    Attributes:
        place: of the window, from 0 (the clip's begin) to 1 (its end), or of the chain of windows
            that it is one of.
        span: samples of the clip that the window has.
        chain: samples of the chain; None where the window is placed by itself.
        shift: of the window in the chain.
        speed: samples of the clip for each of the window's.
        gain: factor of the wave.
        noisy: bool; `snr` in dB; `keys` int64, what the noise is a hash of.
        top, height, left, width: of the crop, as shares of the spectrogram's sides.
        fade: `[2, B]` levels added at the begin and the end, in deviations.
        masks: `[4, B]` first and last hidden share of the bands, then of the time.
    """

    place: Tensor
    span: Tensor
    chain: Tensor | None
    shift: Tensor
    speed: Tensor
    gain: Tensor
    noisy: Tensor
    snr: Tensor
    keys: Tensor
    top: Tensor
    height: Tensor
    left: Tensor
    width: Tensor
    fade: Tensor
    masks: Tensor

    def starts(self, lengths: Tensor) -> Tensor:
        """Return where windows of clips of `lengths: [B]` begin, negative before the clip."""
        room = lengths - self.span
        alone = self.place * room
        if self.chain is None:
            return alone
        starts = self.place * (lengths - self.chain).clamp(min=0) + self.shift
        # A chain that is longer than the clip ends where the clip does.
        return torch.where(room < 0, alone, starts.minimum(room))

    def placed(self, lengths: Tensor) -> Draws:
        """Return the draws with the place that a window of a chain has by itself."""
        if self.chain is None:
            return self
        room = lengths - self.span
        share = self.starts(lengths) / torch.where(room > 0, room, 1.0)
        return replace(self, place=torch.where(room > 0, share, self.place))

    @property
    def transform(self) -> Tensor:
        """The transformation in numbers of the order of 1, `[B, 10]` float32."""
        change = [(self.speed - 1) / _SPEED, 20 * self.gain.log10() / _GAIN, self.noisy.double()]
        crop = [self.top, self.height, self.left, self.width]
        return torch.stack([self.place, *change, *crop, *self.fade], dim=1).float()


def draw(
    specs: Sequence[ViewSpec],
    *,
    rows: slice,
    global_batch: int,
    stream: torch.Generator,
    device: torch.device,
    asks: Sequence[Ask] = (),
) -> list[Draws]:
    """Draw what each view does for `rows` of the global batch."""

    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand((*shape, global_batch), generator=stream, dtype=torch.float64)
        numbers = drawn[..., rows].contiguous()
        numbers = numbers.pin_memory() if device.type == "cuda" else numbers
        return numbers.to(device, non_blocking=True)

    numbers = with_windows(uniform(_NUMBERS, len(specs)), asks, _WINDOW)
    draws = [_drawn(spec, numbers[:, view]) for view, spec in enumerate(specs)]
    distances = uniform(len(specs)) if has_distances(asks) else None
    places = arranged(asks, torch.stack([one.span for one in draws]), distances)
    for view, root in enumerate(places.roots):
        if not places.is_alone(view):
            chain = {"chain": places.spans[view], "shift": places.shifts[view]}
            draws[view] = replace(draws[view], place=draws[root].place, **chain)
    return draws


class Partner(NamedTuple):
    """What is mixed into one view of B rows.

    Attributes:
        place: `[B]` int64, of the other clip among these rows.
        share: `[B]` float64, of the power that is the other clip's.
    """

    place: Tensor
    share: Tensor


def draw_partners(specs: Sequence[ViewSpec], part: BatchPart) -> list[Partner | None]:
    """Draw what is mixed into each view, by a random stream of its own; None for nothing."""
    stream = generator(part.seed, part.step, _MIXING)
    part = replace(part, stream=stream)
    return [
        Partner(part.partners(), spec.mix * part.uniform()) if spec.mix > 0 else None
        for spec in specs
    ]


def _drawn(spec: ViewSpec, u: Tensor) -> Draws:
    """Return what uniform numbers `[17, B]` mean for a view."""
    speed = torch.where(u[2] < spec.speed_prob, 1 + spec.speed * (2 * u[1] - 1), 1.0)
    height, top = _crop(spec.crop_mels, u[7], u[8], most=1.0)
    width, left = _crop(spec.crop_time, u[9], u[10], most=spec.crop_time[1])
    return Draws(
        span=spec.samples * speed,
        chain=None,
        shift=torch.zeros_like(speed),
        place=0.5 + (u[0] - 0.5) * spec.place,
        speed=speed,
        gain=10 ** (spec.gain * (2 * u[3] - 1) / 20),
        noisy=u[4] < spec.noise,
        snr=spec.snr[0] + (spec.snr[1] - spec.snr[0]) * u[5],
        keys=(u[6] * 2**53).long(),
        top=top,
        height=height,
        left=left,
        width=width,
        fade=spec.fade * (2 * u[11:13] - 1),
        masks=torch.stack([*_mask(spec.mask_mels, *u[13:15]), *_mask(spec.mask_time, *u[15:17])]),
    )


def _crop(scale: Range, size: Tensor, place: Tensor, *, most: float) -> tuple[Tensor, Tensor]:
    """Return size and begin of a crop along one side, as shares of the side.

    It lies inside a canvas that is the side, or `most` times as long with the side in its middle.
    """
    canvas = max(most, 1.0)
    width = (scale[0] + (scale[1] - scale[0]) * size).clamp(max=canvas)
    return width, (1 - canvas) / 2 + place * (canvas - width)


def _mask(most: float, size: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and last share of a hidden stretch."""
    width = most * size
    first = place * (1 - width)
    return first, first + width
