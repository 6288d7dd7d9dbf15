"""Decoder of sounds into one leaf: a part of the clip, of one channel, at one rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manta.leaves import Array, Layout, Leaf
from manta.modalities import BadSample, Draw
from manta.modalities.audio.reading import Sound, open_sound
from manta.modalities.audio.wav import Wave
from manta.modalities.audio.wave_reader import middle, most_samples, resampled

LEAF = "audio"


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
        return most_samples(self.rate, self.longest)

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
        start, stop = middle(sound.frames, sound.rate, self.longest)
        if draw is None or not self.cuts or stop - start == sound.frames:
            return start, stop
        start = draw.below(sound.frames - (stop - start) + 1)
        return start, start + most_samples(sound.rate, self.longest)


def check_finite(wave: Wave) -> None:
    """Check that all samples are finite.

    Raises:
        BadSample: one is not, or there is none.
    """
    if len(wave) == 0:
        raise BadSample("no samples")
    if not np.isfinite(wave).all():
        raise BadSample("samples that are no finite numbers")
