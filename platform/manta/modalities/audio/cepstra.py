"""Mel-frequency cepstral coefficients (MFCC), as Kaldi computes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manta.leaves import Columns, Packed
from manta.modalities.audio.decoder import LEAF, AudioDecoder

Array = npt.NDArray[np.float64]
WINDOW, HOP = 0.025, 0.01
"""Seconds of a frame, and from one to the next."""
BANDS, COEFFICIENTS, LIFTER = 23, 13, 22
_LOWEST, _EMPHASIS, _FLOOR = 20.0, 0.97, float(np.finfo(np.float32).eps)
_REACH = 2
"""Frames to either side that a derivative is taken over."""


@dataclass(frozen=True, slots=True)
class Cepstra:
    """Frames of clips: 13 coefficients of 25 ms every 10 ms, and their first two derivatives.

    They are Kaldi's without its noise, and so those whose clusters HuBERT predicts at first.
    """

    decoder: AudioDecoder

    @property
    def step(self) -> float:
        return float(_samples(self.decoder.rate, HOP))

    def __call__(self, rows: Columns) -> list[npt.NDArray[np.float32]]:
        column = rows[LEAF]
        waves = _parted(column) if isinstance(column, Packed) else list(column)
        return [with_derivatives(mfcc(wave, self.decoder.rate)).astype("f4") for wave in waves]


def mfcc(wave: npt.NDArray[np.floating], rate: int) -> Array:
    """Return `[frames, 13]` of a wave; a shorter one than a frame is continued by silence.

    A frame loses its mean and gets its high tones emphasised; the power of a Povey window's
    spectrum is summed in 23 triangles on HTK's mel scale; the logarithms have a cosine transform,
    whose coefficients are liftered.
    """
    from scipy.fft import dct  # takes long to import, and may not be needed

    window, hop = _samples(rate, WINDOW), _samples(rate, HOP)
    signal = np.asarray(wave, dtype=np.float64)
    signal = np.pad(signal, (0, max(window - len(signal), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(signal, window)[::hop]
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    places = np.arange(window) / (window - 1)
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * places)) ** 0.85
    size = 1 << (window - 1).bit_length()
    power = np.square(np.abs(np.fft.rfft((frames - _EMPHASIS * before) * povey, size, axis=1)))
    levels = np.log(np.maximum(power @ _triangles(rate, size).T, _FLOOR))
    order = np.arange(COEFFICIENTS)
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)
    out: Array = dct(levels, type=2, norm="ortho", axis=1)[:, :COEFFICIENTS] * lifter
    return out


def with_derivatives(frames: Array) -> Array:
    """Return `[T, 3 D]` of `[T, D]`: the frames, their slope over time, and that one's slope."""
    first = _slope(frames)
    return np.concatenate([frames, first, _slope(first)], axis=1)


def _slope(frames: Array) -> Array:
    """Return the slope of a line through the frames around each; the ends are repeated."""
    around = np.pad(frames, ((_REACH, _REACH), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _REACH + 1, axis=0)
    steps = np.arange(-_REACH, _REACH + 1)
    out: Array = windows @ steps / np.square(steps).sum()
    return out


def _triangles(rate: int, size: int) -> Array:
    """Return `[23, size // 2 + 1]`, triangles that are straight in mels, of height 1."""
    edges = np.linspace(_mels(_LOWEST), _mels(rate / 2), BANDS + 2)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mels = _mels(np.arange(size // 2 + 1) * (rate / size))
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    out: Array = np.maximum(0.0, np.minimum(rising, falling))
    return out


def _mels(hertz: npt.ArrayLike) -> Array:
    """Return frequencies on HTK's scale."""
    return 1127 * np.log1p(np.asarray(hertz) / 700)


def _parted(column: Packed) -> list[npt.NDArray[np.floating]]:
    return np.split(column.values, np.cumsum(column.lengths)[:-1])


def _samples(rate: int, seconds: float) -> int:
    return max(round(rate * seconds), 2)
