"""BYOL-A's encoder of spectrograms: bands are kept apart, time is pooled, sizes are checked."""

from __future__ import annotations

import pytest
import torch

from manta import encoders
from manta.encoders import Encoder, EncoderConfig
from manta.errors import ConfigError
from manta.spec import Spec


def make(*sides: int, **args: int) -> Encoder:
    torch.manual_seed(0)
    config = EncoderConfig(name="audio_ntt", args={"channels": 8, "output": 24} | args)
    return encoders.build(config, Spec("grid", 1, sides)).eval()


def test_a_vector_is_mean_and_maximum_of_its_frames() -> None:
    encoder = make(32, 40)
    x = torch.randn(2, 1, 32, 40)
    frames = encoder.feature_map(x)
    assert frames.shape == (2, encoder.dense_dim, 5)
    torch.testing.assert_close(encoder.embed(x), frames.mean(2) + frames.amax(2))
    # A convolution reaches a few frames; the second half of a clip does not change the first frame.
    other = torch.cat([x[..., :24], torch.randn(2, 1, 32, 16)], dim=3)
    torch.testing.assert_close(encoder.feature_map(other)[:, :, 0], frames[:, :, 0])


def test_a_tone_of_another_pitch_has_another_vector_and_a_later_one_has_not() -> None:
    encoder = make(32, 64)
    tones = torch.zeros(3, 1, 32, 64)
    tones[0, :, 4:8, 16:32] = tones[1, :, 20:24, 16:32] = tones[2, :, 4:8, 32:48] = 3.0
    low, high, late = encoder.embed(tones)
    torch.testing.assert_close(low, late)
    assert (low - high).norm() > 0.01 * low.norm() > 1000 * (low - late).norm()


def test_it_has_the_authors_sizes() -> None:
    encoder = encoders.build(
        EncoderConfig(name="audio_ntt", args={"output": 2048}), Spec("grid", 1, (64, 96))
    )
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    assert encoder.embed_dim == 2048
    assert weights == 5_321_856  # 5.3 million, as the paper says


@pytest.mark.parametrize(("sides", "blocks"), [((4, 40), 3), ((32, 40), 6)])
def test_too_small_a_spectrogram_is_refused_in_one_line(
    sides: tuple[int, ...], blocks: int
) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.args\.blocks"):
        make(*sides, blocks=blocks)


def test_waveforms_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="audio_ntt"):
        encoders.build(EncoderConfig(name="audio_ntt"), Spec("sequence", 1, (8000,)))
