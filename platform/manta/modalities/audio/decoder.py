"""Decoder of sounds into one leaf: a part of the clip, of one channel, at one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from manta.leaves import Array, Layout, Leaf
from manta.modalities import BadSample, Draw
from manta.modalities.audio.reading import Sound, open_sound
from manta.modalities.audio.wav import Wave

LEAF = "audio"
_FINEST = 2000
"""Largest number in the ratio of two rates; a stranger one is rounded, by less than 1 in 10^6."""
_BETA = 8.0
"""Shape of the Kaiser window of the resampling filter: 80 dB of what would fold back is gone."""
_HALF_WIDTH = 16
"""Samples of the lower rate that the filter reaches to either side."""


@dataclass(frozen=True)
class AudioDecoder:
    """Decoder of a sound into `{"audio": [T] float32}`.

    Channels are mixed to their mean, and the sound is resampled.

    Args:
        rate: samples a second of every decoded clip.
        longest: seconds; of a longer clip a part of this length is taken, drawn in training and
            the middle in evaluations.
        cuts: whether such a part is drawn; False: it is always the middle.
    """

    rate: int
    longest: float
    cuts: bool = True

    @property
    def layout(self) -> Layout:
        return {LEAF: Leaf("float32", (None,), self.most)}

    @property
    def most(self) -> int:
        """Samples of the longest clip."""
        return max(round(self.rate * self.longest), 1)

    @property
    def draws(self) -> bool:
        return self.cuts

    def __call__(self, data: bytes, draw: Draw | None) -> dict[str, Array]:
        sound = open_sound(data)
        start, stop = self._part(sound, draw)
        wave = sound.mono(start, stop)
        check_finite(wave)
        return {LEAF: resampled(wave, sound.rate, self.rate)[: self.most]}

    def _part(self, sound: Sound, draw: Draw | None) -> tuple[int, int]:
        """Return the frames to decode: first, and one past the last."""
        most = max(round(sound.rate * self.longest), 1)
        free = sound.frames - most
        if free <= 0:
            return 0, sound.frames
        start = free // 2 if draw is None or not self.cuts else draw.below(free + 1)
        return start, start + most


def check_finite(wave: Wave) -> None:
    """Check that all samples are finite.

    Raises:
        BadSample: one is not, or there is none.
    """
    if len(wave) == 0:
        raise BadSample("no samples")
    if not np.isfinite(wave).all():
        raise BadSample("samples that are no finite numbers")


def resampled(wave: Wave, rate: int, target: int) -> Wave:
    """Return a wave at another rate, through a windowed sinc; the same array at its own rate.

    It has `ceil(len(wave) * target / rate)` samples. SciPy does it, and not a library that some
    machines of a cluster may lack: samples are the same everywhere.
    """
    if rate == target:
        return wave
    from scipy.signal import resample_poly  # takes long to import, and may not be needed

    ratio = Fraction(target, rate)
    if max(ratio.numerator, ratio.denominator) > _FINEST:
        ratio = Fraction(target / rate).limit_denominator(
            _FINEST if rate > target else max(1, _FINEST * rate // target)
        )
    up, down = ratio.numerator, ratio.denominator
    out: Wave = resample_poly(wave, up, down, window=_taps(up, down)).astype(np.float32)
    length = math.ceil(len(wave) * target / rate)
    return out[:length] if len(out) >= length else np.pad(out, (0, length - len(out)))


@lru_cache(maxsize=16)
def _taps(up: int, down: int) -> npt.NDArray[np.float32]:
    """Return the low-pass filter between two rates, at `up` times the first."""
    from scipy.signal import firwin

    widest = max(up, down)
    taps = firwin(2 * _HALF_WIDTH * widest + 1, 1 / widest, window=("kaiser", _BETA))
    return np.asarray(taps, dtype=np.float32)
