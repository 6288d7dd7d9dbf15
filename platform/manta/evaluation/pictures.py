"""What is kept of a few rows to look at and to listen to, as arrays without pickles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from manta.modalities import Picture

MOST_SOUND = 4 << 20
"""Bytes of sound that are kept with an evaluation."""


def kept_words_and_sounds(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return captions `[S]`, and sounds end to end with their lengths `[S]`; only what there is.

    Where all sounds are too large, evenly spaced ones are kept, and the others have length 0.
    """
    kept: dict[str, Any] = {}
    if any(one.caption for one in pictures):
        kept["captions"] = np.array([one.caption for one in pictures])
    total = sum(len(one.sound) for one in pictures)
    if total:
        step = -(-total // MOST_SOUND)
        sounds = [b"" if at % step else one.sound for at, one in enumerate(pictures)]
        kept["sounds"] = np.frombuffer(b"".join(sounds), dtype=np.uint8)
        kept["sound_lengths"] = np.array([len(sound) for sound in sounds])
    return kept
