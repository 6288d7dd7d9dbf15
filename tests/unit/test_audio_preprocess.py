"""Log-mel spectrograms against SciPy in float64, windows of ragged clips, and exported graphs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import torch

from manta.batch import ViewNeeds
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.features import LOG_MEL, WAVEFORM
from manta.modalities.audio.mel import Bands, to_hertz, to_mel
from manta.modalities.audio.preprocess import AudioPreprocess
from manta.modalities.audio.views import AudioViewsConfig
from manta.modalities.audio.windows import cut
from manta.ragged import Ragged
from manta.spec import Spec

RATE, SAMPLES = 8000, 3040  # 0.38 s, 39 frames of 10 ms


def preprocess(**changes: Any) -> AudioPreprocess:
    settings = {"source": "x", "sample_rate": RATE, "seconds": 0.38, "mels": 32, **changes}
    return AudioPreprocess.of(AudioConfig.model_validate(settings), AudioViewsConfig())


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def ragged(*lengths: int) -> Ragged:
    return Ragged(noise(sum(lengths)), torch.tensor(lengths))


def reference(wave: npt.NDArray[np.float64], rate: int, mels: int) -> npt.NDArray[np.float64]:
    """Log-mel by SciPy's transform and loops over the bands, by the formulas of Slaney."""
    window, hop = round(rate * 0.064), round(rate * 0.01)
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.get_window("hann", window), hop, rate, fft_mode="onesided"
    )
    frames = 1 + len(wave) // hop
    spectrum = transform.stft(wave, p0=0, p1=frames, padding="zeros")
    power = np.abs(spectrum) ** 2

    def mel(hertz: float) -> float:
        return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)

    def hertz(place: float) -> float:
        return place * 200 / 3 if place < 15 else 1000 * 6.4 ** ((place - 15) / 27)

    top = min(7800.0, 0.975 * rate / 2)
    step = (mel(top) - mel(60)) / (mels + 1)
    out = np.zeros((mels, frames))
    for band in range(mels):
        left, centre, right = (hertz(mel(60) + step * (band + n)) for n in range(3))
        for place, frequency in enumerate(transform.f):
            if left < frequency <= centre:
                weight = (frequency - left) / (centre - left)
            elif centre < frequency < right:
                weight = (right - frequency) / (right - centre)
            else:
                continue
            out[band] += weight * 2 / (right - left) * power[place]
    return np.log(out + np.finfo(np.float32).eps)


@pytest.mark.parametrize(("rate", "mels"), [(8000, 32), (16_000, 64), (11_025, 40)])
def test_log_mel_is_the_references_in_float64(rate: int, mels: int) -> None:
    module = preprocess(sample_rate=rate, mels=mels).features.double()
    assert module.bands is not None
    module.filters = torch.from_numpy(module.bands.filters())
    module.hann = torch.hann_window(module.bands.window, dtype=torch.float64)
    wave = noise(2, 5000).double()
    found = module.levels(wave).numpy()
    for row in range(2):
        want = reference(wave[row].numpy(), rate, mels)
        np.testing.assert_allclose(found[row], want, atol=1e-9)
        np.testing.assert_allclose(module.bands.spectrogram(wave[row].numpy()), want, atol=1e-9)


def test_float32_is_close_to_float64() -> None:
    module = preprocess()
    wave = noise(1, SAMPLES)
    want = reference(wave[0].double().numpy(), RATE, 32)
    mean, std = LOG_MEL
    np.testing.assert_allclose(module(wave)[0, 0] * std + mean, want, atol=1e-3)


def test_the_scale_and_the_filters() -> None:
    assert (to_mel(200), to_mel(1000), to_mel(6400)) == pytest.approx((3, 15, 42))
    np.testing.assert_allclose(to_hertz(np.array([3.0, 15, 42])), [200, 1000, 6400])
    bands = Bands.of(16_000, 64, 0.064, 0.01)
    assert (bands.window, bands.hop, bands.frames(15_200)) == (1024, 160, 96)
    assert bands.frames(bands.samples(96)) == 96
    areas = bands.filters().sum(axis=1) * 16_000 / 1024
    np.testing.assert_allclose(areas, 1, atol=0.15)  # of few points below 1 kHz
    np.testing.assert_allclose(areas[-10:], 1, atol=1e-2)


def test_the_spec_is_what_comes_out() -> None:
    for changes in ({}, {"mels": None}, {"seconds": 0.4, "hop": 0.016}):
        module = preprocess(**changes)
        data = AudioConfig.model_validate(
            {"source": "x", "sample_rate": RATE, "seconds": 0.38, "mels": 32, **changes}
        )
        assert module.spec == Audio(data, {}).spec
        assert module(noise(3, 5000)).shape == (3, 1, *module.spec.sides)
    assert preprocess(mels=None).spec == Spec("sequence", 1, (SAMPLES,))


@pytest.mark.parametrize("changes", [{}, {"mels": None}])
def test_forward_and_ready_agree_for_clips_of_any_length(changes: dict[str, Any]) -> None:
    module = preprocess(**changes)
    rows = ragged(SAMPLES, 1, SAMPLES + 1, 7000, 999, 1000)
    ready = module.ready({"audio": rows})
    for place, row in enumerate(torch.split(rows.values, rows.lengths.tolist())):
        torch.testing.assert_close(module(row.unsqueeze(0)), ready[place : place + 1])


def test_a_short_clip_is_in_the_middle_of_silence_and_a_long_one_loses_its_ends() -> None:
    module = preprocess(mels=None)
    mean, std = WAVEFORM
    short, long = noise(1, 1000), noise(1, 5000)
    first = (SAMPLES - 1000) // 2
    found = module(short)[0, 0] * std + mean
    torch.testing.assert_close(found[first : first + 1000], short[0])
    assert not found[:first].any()
    assert not found[first + 1000 :].any()
    torch.testing.assert_close(module(long)[0, 0] * std + mean, long[0, 980 : 980 + SAMPLES])


def test_samples_that_are_no_numbers_are_silence() -> None:
    wave = noise(1, SAMPLES)
    wave[0, 5], wave[0, 9] = torch.nan, torch.inf
    module = preprocess()
    assert torch.equal(module(wave), module(wave.nan_to_num(0, 0, 0)))


def test_a_window_at_a_speed_is_interpolated() -> None:
    rows = Ragged(torch.arange(10.0).repeat(2), torch.tensor([10, 10]))
    found = cut(rows, torch.tensor([1.0, -1.0]), 4, torch.tensor([1.5, 0.5]))
    want = [[1, 2.5, 4, 5.5], [0, 0, 0, 0.5]]
    torch.testing.assert_close(found, torch.tensor(want))


@pytest.mark.parametrize("changes", [{}, {"mels": None}])
def test_what_is_described_is_built_again(changes: dict[str, Any]) -> None:
    module = preprocess(**changes)
    again = Audio.preprocess_from(module.describe())
    wave = module.examples()[1]
    assert torch.equal(module(wave), again(wave))
    assert again.describe() == module.describe()
    assert Spec.from_description(module.describe()) == module.spec
    decoder: Any = module.decoder()
    assert (decoder.rate, decoder.longest, decoder.draws) == (RATE, 10.0, False)


def test_the_modality_gives_the_means_of_its_views() -> None:
    data = AudioConfig(source="x")
    usual = Audio(data, {}).preprocess(AudioViewsConfig())
    own = Audio(data, {}).preprocess(AudioViewsConfig(mean=-4.0, std=2.0))
    assert (usual.mean, usual.std, own.mean, own.std) == (*LOG_MEL, -4.0, 2.0)


@pytest.mark.parametrize("changes", [{}, {"mels": None}])
def test_pt2_and_onnx_take_waves_of_any_length(changes: dict[str, Any], tmp_path: Any) -> None:
    import onnxruntime

    module = preprocess(**changes).eval()
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    traced, shapes = (module.traced(),), (any_size,)
    graph = torch.export.export(module, traced, dynamic_shapes=shapes).module()
    program = torch.onnx.export(module, traced, dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    program.save(tmp_path / "audio.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "audio.onnx")
    (name,) = (one.name for one in session.get_inputs())
    for wave in (*module.examples(), noise(1, 50)):
        want = module(wave)
        torch.testing.assert_close(graph(wave), want)
        (found,) = session.run(None, {name: wave.numpy()})
        np.testing.assert_allclose(found, want, atol=1e-3)


def test_views_for_evaluations_are_made_of_the_same_features() -> None:
    module = preprocess()
    rows = {"audio": ragged(*([2000] * 4))}
    views = module.views(ViewNeeds(global_views=3))
    batch = views(rows, torch.arange(4), seed=0, step=0, global_batch=4)
    assert [view.tensor.shape for view in batch] == [(4, 1, 32, 39)] * 3
    torch.testing.assert_close(views.plain(rows), module.ready(rows))
