"""The encoder of BYOL-A (Niizumi et al. 2021) for spectrograms, which keeps bands apart."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders._sequences import SequenceArgs, args_of
from manta.errors import ConfigError
from manta.spec import Spec


class AudioNTTArgs(SequenceArgs):
    """Settings in `encoder.args` of an `audio_ntt`."""

    channels: int = Field(64, ge=1, description="of the convolutions")
    blocks: int = Field(3, ge=1, le=6, description="of a convolution; each halves bands and time")
    output: int = Field(512, ge=1, description="length of the vector; the paper's largest is 2048")
    dropout: float = Field(0.3, ge=0, lt=1, description="between the two linear layers")


class AudioNTT(Encoder):
    """Convolutions, linear layers on each frame's bands and channels, and mean and maximum of time.

    Networks of images take the mean over bands as well, after which a high sound and a low one
    differ little. Here a frame's vector is of all of its bands, as in the authors' AudioNTT2020.
    """

    def __init__(self, spec: Spec, args: AudioNTTArgs) -> None:
        super().__init__()
        widths = [spec.channels, *[args.channels] * args.blocks]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width, args.channels, 3, padding=1),
                    nn.BatchNorm2d(args.channels),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for width in widths[:-1]
            )
        )
        bands = spec.sides[0] >> args.blocks
        self.frames = nn.Sequential(
            nn.Linear(args.channels * bands, args.output),
            nn.ReLU(),
            nn.Dropout(args.dropout),
            nn.Linear(args.output, args.output),
            nn.ReLU(),
        )
        self.embed_dim = self.dense_dim = args.output

    def embed(self, x: Tensor) -> Tensor:
        frames = self.feature_map(x)
        return frames.mean(2) + frames.amax(2)

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the vectors of frames, `[N, C, bands, time] -> [N, D, frames]`."""
        maps = cast(Tensor, self.blocks(x))
        return torch.movedim(self.frames(maps.flatten(1, 2).transpose(1, 2)), 2, 1)


@ENCODERS.register("audio_ntt")
def audio_ntt(config: EncoderConfig, spec: Spec) -> AudioNTT:
    """Build BYOL-A's convolutional encoder of spectrograms.

    Raises:
        ConfigError: the data are no grids of two sides, or too small ones.
    """
    args = args_of(config, AudioNTTArgs)
    if len(spec.size) != 2:
        raise ConfigError(f"encoder.name=audio_ntt takes grids of two sides, not {spec}")
    if min(spec.sides) >> args.blocks == 0:
        least = 1 << args.blocks
        raise ConfigError(
            f"encoder.args.blocks: {args.blocks} blocks need sides of {least} or more, and the "
            f"spectrogram's are {spec.sides}"
        )
    return AudioNTT(spec, args)
