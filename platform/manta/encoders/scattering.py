"""A fixed scattering network with a small trained convolutional adapter.

Mallat 2012; Bruna & Mallat 2013. Wavelet moduli of first and second order, averaged: nothing to
learn, stable to small deformations. The filters are the usual Morlet bank, written down in the
Fourier domain; kymatio, which has them too, cannot be imported beside SciPy 1.17 as of its version
0.3.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError
from manta.spec import Spec

WIDTH = 0.8
"""Standard deviation of the finest wavelet's envelope in pixels; each scale doubles it."""
FREQUENCY = 3 * math.pi / 4
"""Frequency of the finest wavelet in radians a pixel; each scale halves it."""


class ScatteringArgs(BaseModel):
    """Settings in `encoder.args` of a `scatnet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    scales: int = Field(
        2,
        ge=1,
        description="octaves; the side of the feature map is that of the image over 2^scales",
    )
    angles: int = Field(8, ge=1, description="orientations of the wavelets")
    width: int = Field(128, ge=1, description="channels of the adapter, and of the pooled vector")
    blocks: int = Field(1, ge=0, description="residual blocks of the adapter")


class Scattering(nn.Module):
    """The scattering transform to second order, for J scales and L angles.

    `[N, C, S, S] -> [N, C * channels, S / 2^J, S / 2^J]`. A signal that passed a wavelet of scale j
    has lost its high frequencies and goes on at 1/2^j of the resolution, where a wavelet of scale k
    is the finest resolution's of scale k - j.

    Args:
        size: S, a multiple of 2^J above it.
    """

    def __init__(self, size: int, *, scales: int, angles: int) -> None:
        super().__init__()
        self.scales, self.angles = scales, angles
        self.channels = 1 + scales * angles + angles**2 * scales * (scales - 1) // 2
        self.padding = 2**scales
        for j in range(scales):
            side = (size + 2 * self.padding) >> j
            scales_and_angles = ((k, angle) for k in range(j, scales) for angle in range(angles))
            wavelets = [morlet(side, k - j, angle, angles) for k, angle in scales_and_angles]
            # The wavelets from scale j on, at resolution j.
            bank = torch.stack(wavelets).float()
            self.register_buffer(f"wavelets_{j}", bank, persistent=False)
        for j in range(scales + 1):
            low = low_pass((size + 2 * self.padding) >> j, scales - j)
            self.register_buffer(f"low_pass_{j}", low.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.padding,) * 4, mode="reflect")
        orders_0_and_1 = [self._averaged(x, 0).unsqueeze(2)]
        second = []
        for j, moduli in enumerate(self._moduli(x, 0, 0)):
            orders_0_and_1.append(self._averaged(moduli, j))
            for k, deeper in enumerate(self._moduli(moduli, j, j + 1), start=j + 1):
                second.append(self._averaged(deeper, k).flatten(2, 3))
        return torch.cat([*orders_0_and_1, *second], dim=2).flatten(1, 2)

    def _moduli(self, x: Tensor, resolution: int, first: int) -> list[Tensor]:
        """Return |x * wavelet| at each scale from `first` on, at that scale's resolution.

        `[..., s, s] -> [..., angles, s', s']`.
        """
        spectrum = torch.fft.fft2(x).unsqueeze(-3)
        bank = self.get_buffer(f"wavelets_{resolution}")
        banks = bank.view(-1, self.angles, *bank.shape[-2:])
        moduli = []
        for octave in range(first - resolution, self.scales - resolution):
            filtered = _subsampled(spectrum * banks[octave], 2**octave)
            moduli.append(torch.fft.ifft2(filtered).abs())
        return moduli

    def _averaged(self, x: Tensor, resolution: int) -> Tensor:
        """Return x low-passed and sampled every 2^J pixels of the image, without the padding."""
        low = self.get_buffer(f"low_pass_{resolution}")
        return low @ x @ low.T


class ScatNet(Encoder):
    """`Scattering`, standardised, and an adapter that is pooled by the mean.

    The adapter is a 1x1 convolution and some residual blocks.
    """

    def __init__(self, size: int, args: ScatteringArgs, *, channels: int = 3) -> None:
        super().__init__()
        self.size = size
        self.scattering = Scattering(size, scales=args.scales, angles=args.angles)
        width = channels * self.scattering.channels
        self.adapter = nn.Sequential(
            nn.BatchNorm2d(width, affine=False),
            nn.Conv2d(width, args.width, 1, bias=False),
            nn.BatchNorm2d(args.width),
            nn.ReLU(),
            *(Residual(args.width) for _ in range(args.blocks)),
        )
        self.embed_dim = self.dense_dim = args.width

    def embed(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean((2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.size, self.size):
            raise ConfigError(
                f"encoder.name=scatnet was built for {self.size} px and was given "
                f"{tuple(x.shape[-2:])}; "
                "take an objective without local views"
            )
        # There are no Fourier transforms in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            scattered = self.scattering(x if x.dtype == torch.float64 else x.float())
        return cast(Tensor, self.adapter(scattered))


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


@ENCODERS.register("scatnet")
def scatnet(config: EncoderConfig, spec: Spec) -> ScatNet:
    """Build a scattering network: fixed wavelets, and a small trained adapter on top.

    Raises:
        ConfigError: an argument means nothing here, the data are no square grids, or the scales do
            not divide their side.
    """
    if config.pretrained or config.stem != "default":
        raise ConfigError(
            "encoder.name=scatnet has neither pretrained weights nor another stem; leave both out"
        )
    try:
        args = ScatteringArgs.model_validate(config.args)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"encoder.args.{place}: {first['msg']}") from None
    if len(spec.sides) != 2 or len(set(spec.sides)) != 1:
        raise ConfigError(f"encoder.name=scatnet takes square grids, not {spec}")
    side = spec.side
    if side % 2**args.scales or side <= 2**args.scales:
        raise ConfigError(
            f"scatnet of {args.scales} scales needs a data.image_size that {2**args.scales} divides"
        )
    return ScatNet(side, args, channels=spec.channels)


def morlet(size: int, scale: int, angle: int, angles: int) -> Tensor:
    """Return the Fourier transform of a Morlet wavelet on `size` x `size` pixels, real.

    `[size, size]`: a Gabor's, a Gaussian around its frequency, less the Gaussian around 0 that
    leaves no mean. Its envelope is longer across the waves, by angles / 4.
    """
    theta = math.pi * angle / angles
    direction = (math.sin(theta), math.cos(theta))
    spread = (WIDTH * 2**scale, WIDTH * 2**scale * angles / 4)
    frequency = FREQUENCY / 2**scale
    wave = _gaussian(size, direction, spread, frequency)
    constant = _gaussian(size, direction, spread, 0.0)
    return wave - wave[0, 0] / constant[0, 0] * constant


def _gaussian(
    size: int, direction: tuple[float, float], spread: tuple[float, float], frequency: float
) -> Tensor:
    """Return an anisotropic Gaussian in the Fourier domain, `[size, size]`.

    Its standard deviations are 1 / `spread` along and across `direction`, and its centre is at
    `frequency` along it. Pixels sample it, so frequencies that differ by whole turns a pixel are
    the same, and are summed.
    """
    turns = torch.arange(-2, 3, dtype=torch.float64) * 2 * math.pi
    # [size, 5]
    omega = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64).unsqueeze(1) + turns
    rows, columns = omega[:, None, :, None], omega[None, :, None, :]
    along = rows * direction[0] + columns * direction[1] - frequency
    across = rows * direction[1] - columns * direction[0]
    return torch.exp(-((spread[0] * along) ** 2 + (spread[1] * across) ** 2) / 2).sum((2, 3))


def low_pass(size: int, scales: int) -> Tensor:
    """Return `[size / 2^scales - 2, size]`, a periodic Gaussian blur of a line with sampling.

    It samples every 2^scales pixels, without the first and the last sample, which are padding.
    """
    turns = torch.arange(-2, 3, dtype=torch.float64) * 2 * math.pi
    omega = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64).unsqueeze(1) + turns
    response = torch.exp(-((WIDTH * 2.0 ** (scales - 1) * omega) ** 2) / 2).sum(1)
    kernel: Tensor = torch.fft.ifft(response).real
    distance = torch.arange(0, size, 2**scales).unsqueeze(1) - torch.arange(size)
    return kernel[distance % size][1:-1]


def _subsampled(spectrum: Tensor, step: int) -> Tensor:
    """Return the spectrum of every `step`-th pixel.

    Frequencies that these cannot tell apart are averaged.
    """
    *batch, height, width = spectrum.shape
    return spectrum.reshape(*batch, step, height // step, step, width // step).mean((-4, -2))
