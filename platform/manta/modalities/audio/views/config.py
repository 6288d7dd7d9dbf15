"""Settings of the views of clips: presets, overrides, and one strength over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from manta.batch import Role, ViewNeeds
from manta.views import Preset, ViewsConfig, same_windows, specified

SMALLEST_CROP = 0.1
"""Least share of a spectrogram to which `strength` shrinks crops."""
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """The distribution that one view is drawn from.

    Attributes:
        samples: of its window.
        place: how much the window's place is drawn: 1 anywhere, 0 the middle of the clip.
        speed: largest change of speed, and so of pitch, as a share; `speed_prob` its probability.
        gain: largest change of loudness in dB.
        noise: probability of white noise; `snr` the range of the signal above it in dB.
        mix: largest share of the power that is another clip's.
        crop_mels, crop_time: range of the crop's height and width, as shares of the spectrogram's;
            above 1 the crop reaches over the borders, where the mean level is.
        fade: largest level added at either end, with a straight line between, in deviations.
        mask_mels, mask_time: largest share of the bands and of the time that is hidden.
    """

    role: Role = "global"
    samples: int = 15_200
    place: float = 1.0
    speed: float = 0.0
    speed_prob: float = 0.5
    gain: float = 0.0
    noise: float = 0.0
    snr: Range = (5.0, 30.0)
    mix: float = 0.0
    crop_mels: Range = (1.0, 1.0)
    crop_time: Range = (1.0, 1.0)
    fade: float = 0.0
    mask_mels: float = 0.0
    mask_time: float = 0.0

    def scaled(self, strength: float) -> ViewSpec:
        """Return this view at `strength`: 1 leaves it, 0 is the middle window, above 1 is harder.

        Magnitudes and the probability of noise grow with it up to their limits; how much the
        window's place is drawn changes only below 1.
        """
        if strength == 1:
            return self
        quieter = 20 * math.log10(strength) if strength > 0 else 0.0
        return replace(
            self,
            place=self.place * min(strength, 1.0),
            speed=min(self.speed * strength, 0.5),
            gain=self.gain * strength,
            noise=min(self.noise * strength, 1.0),
            snr=(self.snr[0] - quieter, self.snr[1] - quieter),
            mix=min(self.mix * strength, 0.9),
            crop_mels=_stretched(self.crop_mels, strength),
            crop_time=_stretched(self.crop_time, strength),
            fade=self.fade * strength,
            mask_mels=min(self.mask_mels * strength, 0.9),
            mask_time=min(self.mask_time * strength, 0.9),
        )

    def clean(self) -> ViewSpec:
        """Return the window alone, for a target."""
        return ViewSpec("target", self.samples, self.place)

    def in_window_of(self, other: ViewSpec) -> ViewSpec:
        """Return this view in the very window of another: its place, size, speed and crop."""
        return replace(
            self,
            samples=other.samples,
            place=other.place,
            speed=other.speed,
            speed_prob=other.speed_prob,
            crop_mels=other.crop_mels,
            crop_time=other.crop_time,
        )

    @property
    def is_cropped(self) -> bool:
        """Whether crops of the spectrogram are drawn."""
        return (self.crop_mels, self.crop_time) != ((1.0, 1.0), (1.0, 1.0))


def _preset(about: str, *views: ViewSpec) -> Preset[ViewSpec]:
    return Preset(views, replace(views[0], role="local", crop_time=(0.6, 1.0)), about)


_SIMCLR = ViewSpec(
    speed=0.1,
    gain=6.0,
    noise=0.5,
    crop_mels=(0.6, 1.5),
    crop_time=(0.6, 1.5),
    mask_mels=0.2,
    mask_time=0.2,
)
_BYOL_A = ViewSpec(mix=0.4, crop_mels=(0.6, 1.5), crop_time=(0.6, 1.5), fade=1.0)

PRESETS: dict[str, Preset[ViewSpec]] = {
    "simclr": _preset(
        "Two alike: windows, gain, speed and noise of the wave (after CLAR, Al-Tahan and "
        "Mohsenzadeh 2021), a random resized crop of the spectrogram, and a part of the "
        "bands and of the time hidden (SpecAugment, Park et al. 2019).",
        _SIMCLR,
    ),
    "byol": _preset(
        "Niizumi et al. 2021 and 2023 (BYOL-A): each clip mixed with another, random resized crops "
        "of 0.6 to 1.5 of the spectrogram and a random linear fade. The other clip is of the same "
        "eighth of the batch, not of earlier batches; none are normalised once more after it.",
        _BYOL_A,
    ),
    "multicrop": _preset(
        "BYOL-A's crops of long windows with noise, and short windows, after DINO (Caron et al. "
        "2021).",
        replace(_BYOL_A, mix=0.0, noise=0.5),
    ),
    "plain": _preset("A window, and nothing else.", ViewSpec()),
}

Probability = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=0.9)]
Scale = Annotated[float, Field(gt=0, le=4)]


class AudioViewsConfig(ViewsConfig):
    """Settings of the augmentation of clips.

    None leaves a value to the preset; `strength` scales preset and overrides alike. Crops, fade and
    masks are of spectrograms; waveforms have none of them.
    """

    ranges = ("snr", "crop_mels", "crop_time")
    name: Literal["audio"] = Field("audio", description="which view pipeline: that of audio")
    strength: float = Field(
        1.0, ge=0, description="scales the whole preset: 0 the middle, 1 the preset, 2 double"
    )
    local_seconds: float | None = Field(
        None, gt=0, description="of local views; None: half of a global one's"
    )
    speed: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        None, description="largest change of speed and pitch, as a share"
    )
    speed_prob: Probability | None = Field(None, description="probability of another speed")
    gain: Amount | None = Field(None, description="largest change of loudness in dB")
    noise: Probability | None = Field(None, description="probability of white noise")
    snr: tuple[float, float] | None = Field(
        None, description="range of the signal above the noise, in dB"
    )
    mix: Share | None = Field(
        None, description="largest share of the power that is another clip's, mixed in"
    )
    crop_mels: tuple[Scale, Scale] | None = Field(
        None, description="height of crops as a share of the spectrogram's bands"
    )
    crop_time: tuple[Scale, Scale] | None = Field(
        None, description="width of crops as a share of the spectrogram's frames"
    )
    fade: Amount | None = Field(
        None, description="largest level added at either end, in deviations of the levels"
    )
    mask_mels: Share | None = Field(None, description="largest share of the bands hidden")
    mask_time: Share | None = Field(None, description="largest share of the time hidden")
    mean: float | None = Field(
        None, description="of log-mel levels, subtracted; None: AudioSet's (0 of waveforms)"
    )
    std: Annotated[float, Field(gt=0)] | None = Field(
        None, description="of log-mel levels, divided by; None: AudioSet's (0.1 of waveforms)"
    )


_OVERRIDES = (
    *("speed", "speed_prob", "gain", "noise", "snr", "mix"),
    *("crop_mels", "crop_time", "fade", "mask_mels", "mask_time"),
)


def specify(
    config: AudioViewsConfig,
    needs: ViewNeeds,
    *,
    samples: int,
    local_samples: int,
    shortened: Callable[[float], int] | None = None,
) -> tuple[ViewSpec, ...]:
    """Return one spec for each view that the objective asks for.

    Each is the preset, then overrides, then strength.

    Args:
        samples, local_samples: of a global and of a local view.
        shortened: returns the samples of a share of a global view; None: rounded.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """
    given = {name: getattr(config, name) for name in _OVERRIDES}
    overrides = {name: value for name, value in given.items() if value is not None}

    def adapted(view: ViewSpec) -> ViewSpec:
        own = samples if view.role == "global" else local_samples
        return replace(view, samples=own, **overrides)

    specs = list(specified(config, needs, PRESETS, adapted, ViewSpec.clean))
    for view, (ask, of) in enumerate(zip(needs.asks, same_windows(needs.asks), strict=True)):
        if ask.length is not None:
            own = shortened(ask.length) if shortened else round(ask.length * samples)
            specs[view] = replace(specs[view], samples=own)
        specs[view] = specs[view].in_window_of(specs[of])
    return tuple(specs)


def _stretched(crop: Range, strength: float) -> Range:
    """Return a range whose distances from 1 are `strength` times as large."""
    low, high = (1 + (bound - 1) * strength for bound in crop)
    return max(low, min(crop[0], SMALLEST_CROP)), max(high, min(crop[1], SMALLEST_CROP))
