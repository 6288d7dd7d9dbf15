"""Short WAV files that pages play."""

from __future__ import annotations

import io
import wave

import numpy as np

from manta.modalities.audio.wav import Wave
from manta.modalities.audio.wave_reader import resampled

RATE, SECONDS = 8_000, 2.0
"""Samples a second, and the longest part of a clip, from its middle: a page has room for many."""


def playable(clip: Wave, rate: int) -> bytes:
    """Return the middle of a clip as a WAV of 16 bits, at most `RATE` samples a second."""
    most = round(rate * SECONDS)
    first = max(len(clip) - most, 0) // 2
    target = min(rate, RATE)
    part = resampled(clip[first : first + most], rate, target)
    loudest = max(float(np.abs(part).max(initial=0.0)), 1.0)  # never clipped, nor made louder
    samples = np.rint(part * (32_767 / loudest)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(target)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
