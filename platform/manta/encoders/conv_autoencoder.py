"""A small convolutional autoencoder, whose latents need no pretrained model and no views."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError
from manta.spec import Spec

GRID, CHANNELS = 4, 32


def _block(layer: nn.Module, width: int) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]


class ConvAutoencoder(Encoder):
    """Three halvings to a grid of 4 x 4 latents of 32 channels, and back to an image of 32 px."""

    embed_dim = GRID * GRID * CHANNELS

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        down: list[nn.Module] = []
        for width, wider in ((channels, 32), (32, 64), (64, CHANNELS)):
            down += _block(nn.Conv2d(width, wider, 3, stride=2, padding=1), wider)
        # Without the last ReLU, so that latents keep their sign.
        self.encoder = nn.Sequential(*down[:-1])
        up: list[nn.Module] = []
        for width, narrower in ((CHANNELS, 64), (64, 32)):
            up += _block(nn.ConvTranspose2d(width, narrower, 4, stride=2, padding=1), narrower)
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1))

    def embed(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.encoder(x), GRID).flatten(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the reconstructed images, `[N, C, h, w] -> [N, C, 32, 32]`."""
        return cast(Tensor, self.decoder(self.embed(x).view(-1, CHANNELS, GRID, GRID)))


@ENCODERS.register("conv_autoencoder")
def conv_autoencoder(config: EncoderConfig, spec: Spec) -> ConvAutoencoder:
    """Build the encoder of a small convolutional autoencoder: 512 numbers of a 32 px image.

    Raises:
        ConfigError: the data are no grids of two sides.
    """
    if len(spec.size) != 2:
        raise ConfigError(f"encoder.name=conv_autoencoder takes grids of two sides, not {spec}")
    return ConvAutoencoder(spec.channels)
