"""The dilated convolutional encoder of TS2Vec (Yue et al. 2022)."""

from __future__ import annotations

from typing import Literal, cast

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders._sequences import (
    SequenceArgs,
    args_of,
    kept,
    max_pooled,
    mean_pooled,
    padded,
)
from manta.ragged import Ragged
from manta.spec import Form, Spec


class TCNArgs(SequenceArgs):
    """Settings in `encoder.args` of a `tcn`."""

    hidden: int = Field(64, ge=1, description="channels of the residual blocks")
    depth: int = Field(
        10, ge=1, le=20, description="blocks before the last; dilation doubles in each"
    )
    output: int = Field(320, ge=1, description="channels of the last block, and of the vector")
    kernel: int = Field(3, ge=2, description="of every convolution")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the frames, in training")
    pool: Literal["max", "mean"] = Field("max", description="over time; TS2Vec takes the maximum")


class _Convolution(nn.Module):
    """A dilated convolution that keeps the length and looks both ways."""

    def __init__(self, channels: int, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation
        self.padding = ((reach + 1) // 2, reach // 2)
        self.convolution = nn.Conv1d(channels, width, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.convolution(F.pad(x, self.padding)))


class _Block(nn.Module):
    def __init__(
        self, channels: int, width: int, kernel: int, dilation: int, *, last: bool
    ) -> None:
        super().__init__()
        self.first = _Convolution(channels, width, kernel, dilation)
        self.second = _Convolution(width, width, kernel, dilation)
        is_wider = channels != width or last
        self.shortcut = nn.Conv1d(channels, width, 1) if is_wider else nn.Identity()

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        out = self.first(kept(F.gelu(x), there))
        out = self.second(kept(F.gelu(out), there))
        return cast(Tensor, out + self.shortcut(x))


class TCN(Encoder):
    """A linear layer on each frame, dilated residual blocks, and the maximum over time.

    TS2Vec's encoder with the paper's sizes. Ours: it hides no frames by itself, only those that an
    objective asks for, whose vectors after the linear layer are zero, as in the paper.
    """

    takes: tuple[Form, ...] = ("sequence",)

    def __init__(self, channels: int, args: TCNArgs) -> None:
        super().__init__()
        self.entry = nn.Conv1d(channels, args.hidden, 1)
        widths = [args.hidden] * (args.depth + 1) + [args.output]
        self.blocks = nn.ModuleList(
            _Block(widths[i], widths[i + 1], args.kernel, 2**i, last=i == args.depth)
            for i in range(args.depth + 1)
        )
        self.dropout = nn.Dropout(args.dropout)
        self.pooled = {"max": max_pooled, "mean": mean_pooled}[args.pool]
        self.embed_dim = self.dense_dim = args.output

    def embed(self, x: Tensor | Ragged) -> Tensor:
        return self.pooled(*self._frames(x))

    def feature_map(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N, D, T]`, zeros where a row has ended."""
        return self.frames(x)

    def frames(self, x: Tensor | Ragged, hide: Tensor | None = None) -> Tensor:
        """Return the same; values at `hide: [N, T]` bool are hidden."""
        return kept(*self._frames(x, hide))

    def _frames(
        self, x: Tensor | Ragged, hide: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        frames, there = padded(x)
        frames = self.entry(frames)
        if hide is not None:
            frames = frames.masked_fill(hide.unsqueeze(1), 0)
        for block in self.blocks:
            frames = block(frames, there)
        return self.dropout(frames), there


@ENCODERS.register("tcn")
def tcn(config: EncoderConfig, spec: Spec) -> TCN:
    """Build TS2Vec's dilated convolutional network; any length, any number of channels."""
    return TCN(spec.channels, args_of(config, TCNArgs))
