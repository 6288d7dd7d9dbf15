"""Pictures of spectrograms, drawn with NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from manta.modalities.audio.mel import Bands

SIDE = 64
"""Side of a picture in pixels."""
_RANGE = 10.0
"""Natural logarithms of power, from the loudest downwards, that the colours tell apart."""
_COLOURS = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)])
"""Anchors from quiet to loud, after Matplotlib's magma."""


def spectrogram(wave: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.uint8]:
    """Return the spectrogram of a wave as `[64, 64, 3]` uint8, low frequencies at the bottom."""
    window = 0.064
    hop = max(len(wave) / rate / (SIDE - 1), 1 / rate)
    return painted(Bands.of(rate, SIDE // 2, window, hop).spectrogram(wave))


def painted(levels: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the levels `[bands, frames]`, logarithms of power, as `[64, 64, 3]` uint8."""
    bands, frames = levels.shape
    rows = np.arange(SIDE) * bands // SIDE
    columns = np.arange(SIDE) * frames // SIDE
    picture = np.asarray(levels, dtype=np.float64)[::-1][rows][:, columns]
    share = np.clip((picture - picture.max()) / _RANGE + 1, 0, 1) * (len(_COLOURS) - 1)
    anchors = np.arange(len(_COLOURS))
    channels = [np.interp(share, anchors, _COLOURS[:, channel]) for channel in range(3)]
    pixels: npt.NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return pixels
