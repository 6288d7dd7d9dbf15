"""Inspection of sounds at an ingest: what is kept of them, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manta.modalities import Inspected
from manta.modalities.audio.decoder import check_finite
from manta.modalities.audio.reading import BLOCK, open_sound


@dataclass(frozen=True)
class AudioInspector:
    """Inspector that decodes a sound to its end and keeps its bytes as they are.

    Its length is in milliseconds, rounded up. It measures `seconds`, `rate` (samples a second) and
    `channels`.
    """

    column: ClassVar[str] = "audio"

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        sound = open_sound(data)
        for start in range(0, sound.frames, BLOCK):
            check_finite(sound.mono(start, min(start + BLOCK, sound.frames)))
        measures = {
            "seconds": sound.frames / sound.rate,
            "rate": sound.rate,
            "channels": sound.channels,
        }
        return Inspected(data, -(-1000 * sound.frames // sound.rate), measures)
