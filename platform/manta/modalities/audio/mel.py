"""Mel filters, and spectrograms in NumPy.

The scale is Slaney's (linear below 1 kHz, logarithmic above), and each triangle has an area of 1 in
Hz, as in librosa and in BYOL-A; HTK's scale and triangles of height 1 are others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LOWEST, HIGHEST = 60.0, 7800.0
"""Hz of the outermost bands, as in BYOL-A; at a low rate they end at 97.5 % of half of it."""
FLOOR = float(np.finfo(np.float32).eps)
"""Added to every power before its logarithm."""
_KNEE, _STEP = 1000.0, 200 / 3
_LOG_STEP = math.log(6.4) / 27


@dataclass(frozen=True, slots=True)
class Bands:
    """Layout of a log-mel spectrogram.

    Attributes:
        rate: samples a second.
        mels: number of bands.
        window: samples of the Hann window, and of the Fourier transform; an even number.
        hop: samples between two frames.
    """

    rate: int
    mels: int
    window: int
    hop: int

    @classmethod
    def of(cls, rate: int, mels: int, window: float, hop: float) -> Bands:
        """Return the layout for a window and a hop in seconds."""
        even = 2 * max(round(rate * window / 2), 1)
        return cls(rate, mels, even, max(round(rate * hop), 1))

    def frames(self, samples: int) -> int:
        """Return how many frames a wave has, whose first is centred on its first sample."""
        return 1 + samples // self.hop

    def samples(self, frames: int) -> int:
        """Return the shortest wave of so many frames."""
        return (frames - 1) * self.hop

    def filters(self) -> Array:
        """Return `[mels, window // 2 + 1]`, the triangles over the frequencies of the transform."""
        top = min(HIGHEST, 0.975 * self.rate / 2)
        edges = to_hertz(np.linspace(to_mel(LOWEST), to_mel(top), self.mels + 2))
        hertz = np.arange(self.window // 2 + 1) * (self.rate / self.window)
        left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        rising, falling = (hertz - left) / (centre - left), (right - hertz) / (right - centre)
        triangles: Array = np.maximum(0.0, np.minimum(rising, falling)) * (2 / (right - left))
        return triangles

    def spectrogram(self, wave: npt.NDArray[np.floating]) -> Array:
        """Return `[mels, frames]`, the logarithm of a wave's power in each band."""
        half = self.window // 2
        padded = np.pad(np.asarray(wave, dtype=np.float64), half)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        power = np.square(np.abs(np.fft.rfft(pieces * hann, axis=1)))
        out: Array = np.log(self.filters() @ power.T + FLOOR)
        return out


def to_mel(hertz: float) -> float:
    """Return a frequency on Slaney's scale."""
    if hertz < _KNEE:
        return hertz / _STEP
    return _KNEE / _STEP + math.log(hertz / _KNEE) / _LOG_STEP


def to_hertz(mels: Array) -> Array:
    """Return frequencies of Slaney's scale in Hz."""
    knee = _KNEE / _STEP
    above = _KNEE * np.exp(_LOG_STEP * (np.maximum(mels, knee) - knee))
    return np.where(mels < knee, mels * _STEP, above)
