"""Cepstra of waves against a slow reference, and as frames that units are made of."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from manta.leaves import Packed
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.cepstra import Cepstra, mfcc, with_derivatives


def reference(wave: np.ndarray, rate: int) -> np.ndarray:
    """Return `[frames, 13]` as Kaldi's manual describes them, number by number."""
    window, hop, bands = round(0.025 * rate), round(0.01 * rate), 23
    size = 2 ** math.ceil(math.log2(window))

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    step = (mel(rate / 2) - mel(20)) / (bands + 1)
    out = []
    for start in range(0, len(wave) - window + 1, hop):
        frame = wave[start : start + window] - wave[start : start + window].mean()
        sharp = [frame[n] - 0.97 * frame[max(n - 1, 0)] for n in range(window)]
        povey = [
            (0.5 - 0.5 * math.cos(2 * math.pi * n / (window - 1))) ** 0.85 for n in range(window)
        ]
        n = np.arange(window)
        levels = np.zeros(bands)
        for k in range(size // 2):
            value = np.sum(np.multiply(sharp, povey) * np.exp(-2j * math.pi * k * n / size))
            place = (mel(k * rate / size) - mel(20)) / step
            for band in range(bands):
                levels[band] += max(0.0, 1 - abs(place - band - 1)) * abs(value) ** 2
        levels = np.log(np.maximum(levels, np.finfo(np.float32).eps))
        cosines = []
        for k in range(13):
            total = sum(levels[m] * math.cos(math.pi * k * (m + 0.5) / bands) for m in range(bands))
            scale = math.sqrt((1 if k == 0 else 2) / bands)
            cosines.append(total * scale * (1 + 11 * math.sin(math.pi * k / 22)))
        out.append(cosines)
    return np.array(out)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_they_are_kaldis(rate: int) -> None:
    generator = np.random.default_rng(0)
    time = np.arange(round(0.05 * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 700 * time) + 0.05 * generator.standard_normal(len(time))
    cepstra = mfcc(wave, rate)
    assert cepstra.shape == (3, 13)
    np.testing.assert_allclose(cepstra, reference(wave, rate), rtol=1e-9, atol=1e-9)


def test_derivatives_are_slopes_of_lines() -> None:
    frames = np.array([[0.0], [2.0], [4.0], [6.0], [8.0], [10.0], [12.0]])
    whole = with_derivatives(frames)
    assert whole.shape == (7, 3)
    assert whole[3].tolist() == [6.0, 2.0, pytest.approx(0.0, abs=0.5)]
    first = [sum(k * frames[min(max(k, 0), 6), 0] for k in range(-2, 3)) / 10]
    assert whole[0, 1] == pytest.approx(first[0])


def test_each_clip_has_the_frames_that_it_has_alone() -> None:
    audio = Audio(AudioConfig(source="x", sample_rate=8_000), {"seconds": {"most": 2.0}})
    frames = audio.frames()
    assert isinstance(frames, Cepstra)
    assert frames.step == 80.0
    assert not frames.decoder.draws
    assert pickle.loads(pickle.dumps(frames)) == frames
    waves = [np.random.default_rng(n).standard_normal(n).astype("f4") for n in (2_000, 37, 800)]
    rows = frames({"audio": Packed(np.concatenate(waves), np.array([2_000, 37, 800]))})
    assert [row.shape for row in rows] == [(23, 39), (1, 39), (8, 39)]
    for row, wave in zip(rows, waves, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, with_derivatives(mfcc(wave, 8_000)), rtol=1e-5, atol=1e-5)
