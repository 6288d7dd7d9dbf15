"""The residual network of Wang, Yan and Oates 2017 for time series."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders._sequences import SequenceArgs, args_of, kept, mean_pooled, padded
from manta.ragged import Ragged
from manta.spec import Form, Spec


class ResNet1dArgs(SequenceArgs):
    """Settings in `encoder.args` of a `resnet1d`."""

    widths: tuple[int, ...] = Field(
        (64, 128, 128), min_length=1, description="channels of each block"
    )
    kernels: tuple[int, ...] = Field(
        (8, 5, 3), min_length=1, description="of the convolutions of a block, first to last"
    )


class _Norm(nn.Module):
    """BatchNorm of the values that there are: padding counts for nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        if there is None:
            return cast(Tensor, self.norm(x))
        frames = x.transpose(1, 2)
        normalised = self.norm(frames[there])
        out = torch.zeros_like(frames, dtype=normalised.dtype).masked_scatter(
            there.unsqueeze(2), normalised
        )
        return out.transpose(1, 2)


class _Convolution(nn.Module):
    """A convolution that keeps the length, and BatchNorm."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.convolution = nn.Conv1d(channels, width, kernel, bias=False)
        self.norm = _Norm(width)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        return cast(Tensor, self.norm(self.convolution(F.pad(x, self.padding)), there))


class _Block(nn.Module):
    """Convolutions, and the input added to what they give."""

    def __init__(self, channels: int, width: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        widths = [channels, *[width] * len(kernels)]
        self.layers = nn.ModuleList(
            _Convolution(first, second, kernel)
            for first, second, kernel in zip(widths, widths[1:], kernels, strict=False)
        )
        self.shortcut = _Convolution(channels, width, 1) if channels != width else _Norm(width)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        out = x
        for number, layer in enumerate(self.layers):
            out = layer(out, there)
            if number < len(self.layers) - 1:
                out = out.relu()
        whole: Tensor = out + self.shortcut(x, there)
        return whole.relu()


class ResNet1d(Encoder):
    """Blocks of three convolutions with BatchNorm and shortcuts, and the mean over time.

    With its own settings it is the paper's network without the classifier.
    """

    takes: tuple[Form, ...] = ("sequence",)

    def __init__(self, channels: int, args: ResNet1dArgs) -> None:
        super().__init__()
        widths = [channels, *args.widths]
        self.blocks = nn.ModuleList(
            _Block(first, second, args.kernels) for first, second in pairwise(widths)
        )
        self.embed_dim = self.dense_dim = widths[-1]

    def embed(self, x: Tensor | Ragged) -> Tensor:
        return mean_pooled(*self._frames(x))

    def feature_map(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N, D, T]`, zeros where a row has ended."""
        return kept(*self._frames(x))

    def _frames(self, x: Tensor | Ragged) -> tuple[Tensor, Tensor | None]:
        frames, there = padded(x)
        for block in self.blocks:
            frames = block(frames, there)
        return frames, there


@ENCODERS.register("resnet1d")
def resnet1d(config: EncoderConfig, spec: Spec) -> ResNet1d:
    """Build the ResNet for time series of Wang et al. 2017; any length, any number of channels."""
    return ResNet1d(spec.channels, args_of(config, ResNet1dArgs))
