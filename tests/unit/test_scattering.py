"""The scattering transform against wavelets written out in space, and the encoder around it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export

from manta.encoders import DenseEncoder, Encoder, EncoderConfig, build
from manta.encoders.scattering import Scattering, low_pass, morlet
from manta.errors import ConfigError
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.spec import Spec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def envelope(size: int, sigma: float, slant: float, theta: float) -> tuple[Tensor, Tensor]:
    """Return a periodic Gaussian of sum 1 in pixels, and the coordinate along `theta`.

    Both are over repeats of the image.
    """
    steps = torch.arange(size, dtype=torch.float64)
    repeats = size * torch.arange(-2, 3, dtype=torch.float64)
    rows = (steps[:, None, None, None] + repeats[:, None]).expand(size, size, 5, 5)
    columns = (steps[:, None, None] + repeats).expand(size, size, 5, 5)
    along = columns * math.cos(theta) + rows * math.sin(theta)
    across = rows * math.cos(theta) - columns * math.sin(theta)
    gaussian = (
        torch.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
        * slant
        / (2 * math.pi * sigma**2)
    )
    return gaussian, along


def wavelet_in_space(size: int, scale: int, angle: int, angles: int) -> Tensor:
    sigma, frequency = 0.8 * 2**scale, 3 * math.pi / 4 / 2**scale
    gaussian, along = envelope(size, sigma, 4 / angles, math.pi * angle / angles)
    gabor = (gaussian * torch.exp(1j * frequency * along)).sum((2, 3))
    gaussian = gaussian.sum((2, 3))
    return gabor - gabor.sum() / gaussian.sum() * gaussian


@pytest.mark.parametrize(("scale", "angle", "angles"), [(0, 0, 8), (1, 3, 8), (1, 2, 4), (2, 5, 8)])
def test_a_wavelet_is_a_gabor_without_its_mean(scale: int, angle: int, angles: int) -> None:
    actual = morlet(40, scale, angle, angles)
    expected = torch.fft.fft2(wavelet_in_space(40, scale, angle, angles))
    assert (actual - expected).abs().max() < 1e-5
    assert abs(float(actual[0, 0])) < 1e-12


def test_the_low_pass_keeps_a_constant_and_samples_inside_the_padding() -> None:
    low = low_pass(40, 2)
    assert low.shape == (8, 40)
    torch.testing.assert_close(low.sum(1), torch.ones(8, dtype=torch.float64))
    assert low.argmax(1).tolist() == list(range(4, 36, 4))


def scattered_at_full_resolution(x: Tensor, scales: int, angles: int) -> Tensor:
    """Return every filter's output, by circular convolution sampled only at the end."""
    pad = 2**scales
    x = torch.nn.functional.pad(x, (pad,) * 4, mode="reflect")
    size = x.shape[-1]
    filters = {
        (j, a): torch.fft.fft2(wavelet_in_space(size, j, a, angles))
        for j in range(scales)
        for a in range(angles)
    }
    low = torch.fft.fft2(envelope(size, 0.8 * 2 ** (scales - 1), 1.0, 0.0)[0].sum((2, 3)))

    def through(y: Tensor, response: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(y) * response)

    def averaged(y: Tensor) -> Tensor:
        return through(y, low).real[..., pad:-pad:pad, pad:-pad:pad]

    first = {key: through(x, response).abs() for key, response in filters.items()}
    paths = [x, *first.values()]
    paths += [
        through(first[j, a], filters[k, b]).abs()
        for j in range(scales)
        for k in range(j + 1, scales)
        for a in range(angles)
        for b in range(angles)
    ]
    return torch.stack([averaged(path) for path in paths], dim=2).flatten(1, 2)


@pytest.mark.parametrize(("scales", "angles", "channels"), [(1, 4, 5), (2, 8, 81), (3, 6, 127)])
def test_scattering_is_its_definition(scales: int, angles: int, channels: int) -> None:
    x = torch.rand(2, 2, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = Scattering(32, scales=scales, angles=angles).double()
    actual, expected = module(x), scattered_at_full_resolution(x, scales, angles)
    assert module.channels == channels
    assert actual.shape == expected.shape == (2, 2 * channels, 32 >> scales, 32 >> scales)
    # Going on at a lower resolution folds what little is left above it.
    per_path = (actual - expected).norm(dim=(2, 3)) / expected.norm(dim=(2, 3)).clamp_min(
        0.02 * expected.norm(dim=(2, 3)).max()
    )
    assert per_path.max() < 0.05


def test_a_constant_has_no_waves_and_a_wave_has_its_own() -> None:
    module = Scattering(32, scales=2, angles=4)
    flat = module(torch.full((1, 1, 32, 32), 0.7))[0]
    torch.testing.assert_close(flat[0], torch.full((8, 8), 0.7), atol=1e-4, rtol=0)
    assert flat[1:].abs().max() < 1e-4
    columns = torch.arange(32, dtype=torch.float32)
    for scale in range(2):
        wave = torch.cos(columns * 3 * math.pi / 4 / 2**scale).expand(1, 1, 32, 32)
        # Angle 0 runs along a row.
        assert int(module(wave)[0, 1:9].mean((1, 2)).argmax()) == 4 * scale


def test_a_transposed_image_has_its_angles_mirrored() -> None:
    module = Scattering(32, scales=2, angles=8)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    first, mirrored = module(x)[0, 1:9], module(x.mT)[0, 1:9].mT
    torch.testing.assert_close(
        first, mirrored[[(4 - angle) % 8 for angle in range(8)]], atol=1e-5, rtol=1e-4
    )


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build(EncoderConfig(name="scatnet", args={"angles": 4, "width": 24}), Spec.image(32))


def test_the_encoder_pools_maps_and_trains_its_adapter_alone(encoder: Encoder) -> None:
    x = torch.randn(4, 3, 32, 32)
    assert isinstance(encoder, DenseEncoder)
    assert encoder.feature_map(x).shape == (4, 24, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = encoder(x)
    assert pooled.shape == (4, encoder.embed_dim)
    pooled.float().square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in encoder.parameters())
    assert not any(name.startswith("scattering") for name, _ in encoder.named_parameters())
    assert not any(key.startswith("scattering") for key in encoder.state_dict())


def test_it_is_saved_and_exported_like_any_other(encoder: Encoder, tmp_path: Path) -> None:
    encoder(torch.randn(8, 3, 32, 32))  # statistics that a fresh encoder does not have
    config = EncoderConfig(name="scatnet", args={"angles": 4, "width": 24})
    module = ExportedEncoder(encoder, ImagePreprocess(32, MEAN, STD))
    assert not save_encoder(module, tmp_path, config=config).timm
    images = torch.randint(
        0, 256, (3, 40, 36, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    dynamic = {0: Dim.AUTO, 1: Dim.AUTO, 2: Dim.AUTO}
    with torch.no_grad():
        expected = module(images)
        torch.testing.assert_close(load_exported(tmp_path)(images), expected, atol=1e-5, rtol=1e-5)
        graph = export(module, (images,), dynamic_shapes=[dynamic]).module()
        torch.testing.assert_close(graph(images), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            graph(images[:1, :33]), module(images[:1, :33]), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("config", "size", "words"),
    [
        ({"args": {"depth": 3}}, 32, "encoder.args.depth"),
        ({"args": {"scales": 0}}, 32, "encoder.args.scales: .* greater than or equal to 1"),
        ({"args": {"scales": 3}}, 36, "data.image_size that 8 divides"),
        ({"stem": "small"}, 32, "nor another stem"),
        ({"pretrained": True}, 32, "neither pretrained"),
    ],
)
def test_what_it_cannot_be_is_one_line(config: dict[str, object], size: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(EncoderConfig.model_validate({"name": "scatnet", **config}), Spec.image(size))


def test_images_of_another_size_are_one_line(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match="without local views"):
        encoder(torch.randn(1, 3, 16, 16))
