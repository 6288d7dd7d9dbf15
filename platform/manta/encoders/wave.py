"""Convolutions over the waveform and a transformer, after wav2vec 2.0 and HuBERT.

Baevski et al. 2020; Hsu et al. 2021.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.encoders._blocks import Block, BlockEncoder, Encoded, Sequences, left
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._sequences import SequenceArgs, args_of, kept, mean_pooled, padded
from manta.ragged import Ragged
from manta.spec import Form, Spec


class WaveArgs(SequenceArgs):
    """Settings in `encoder.args` of a `wave`."""

    channels: int = Field(64, ge=1, description="of the convolutions; 512 in the papers")
    kernels: tuple[int, ...] = Field(
        (10, 3, 3, 3, 3, 2, 2), min_length=1, description="of each convolution, in values"
    )
    strides: tuple[int, ...] = Field(
        (5, 2, 2, 2, 2, 2, 2),
        min_length=1,
        description="of each convolution; their product is a frame: 320 samples, 20 ms at 16 kHz",
    )
    norm: Literal["group", "layer"] = Field(
        "group",
        description="of the convolutions: each channel over time after the first one, as in the "
        "base models, or each frame over channels after every one, as in the large ones",
    )
    dim: int = Field(128, ge=1, description="width of the frames; 768 in the papers")
    depth: int = Field(3, ge=1, description="blocks; 12 in the papers")
    heads: int = Field(4, ge=1, description="attention heads; 12 in the papers")
    mlp: float = Field(4.0, gt=0, description="width of the hidden layer over that of the frames")
    order: Literal["post", "pre"] = Field(
        "post", description="norms after each layer, as in the base models, or before it"
    )
    positions: int = Field(128, ge=1, description="frames that the convolution of positions spans")
    groups: int = Field(16, ge=1, description="of the convolution of positions")
    dropout: float = Field(0.1, ge=0, lt=1, description="in the transformer, in training")

    @model_validator(mode="after")
    def _fits_together(self) -> WaveArgs:
        if len(self.kernels) != len(self.strides):
            raise ValueError(
                f"{len(self.kernels)} kernels and {len(self.strides)} strides; give as many"
            )
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if not 1 <= stride <= kernel:
                raise ValueError(f"stride {stride} is not between 1 and its kernel {kernel}")
        for name in ("heads", "groups"):
            if self.dim % getattr(self, name):
                raise ValueError(
                    f"dim {self.dim} is not a multiple of {name} {getattr(self, name)}"
                )
        return self


class _Convolutions(nn.Module):
    """Convolutions without padding, GELU after each: `[N, C, T] -> [N, channels, frames]`."""

    def __init__(self, channels: int, args: WaveArgs) -> None:
        super().__init__()
        self.shapes = tuple(zip(args.kernels, args.strides, strict=True))
        widths = [channels, *[args.channels] * len(self.shapes)]
        self.layers = nn.ModuleList(
            nn.Conv1d(widths[i], widths[i + 1], kernel, stride, bias=False)
            for i, (kernel, stride) in enumerate(self.shapes)
        )
        self.is_grouped = args.norm == "group"
        norms = 1 if self.is_grouped else len(self.shapes)
        self.norms = nn.ModuleList(nn.LayerNorm(args.channels) for _ in range(norms))
        for layer in self.layers:
            nn.init.kaiming_normal_(cast(Tensor, layer.weight))

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the frames; those after the end of a row are of no use.

        Args:
            lengths: `[N]` values of each row; None: all alike.
        """
        for i, (layer, (kernel, stride)) in enumerate(zip(self.layers, self.shapes, strict=True)):
            x = layer(x)
            if lengths is not None:
                lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
            if not self.is_grouped:
                x = self.norms[i](x.mT).mT
            elif i == 0:
                x = self._over_time(x, lengths)
            x = F.gelu(x)
        return x

    def _over_time(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return each channel less its mean over the row, and over its deviation; then scaled."""
        norm = cast(nn.LayerNorm, self.norms[0])
        if lengths is None:
            return F.group_norm(x, x.shape[1], norm.weight, norm.bias, norm.eps)
        there = torch.arange(x.shape[2], device=x.device) < lengths.unsqueeze(1)
        mean = mean_pooled(x, there).unsqueeze(2)
        variance = mean_pooled((x - mean).square(), there).unsqueeze(2)
        scaled = (x - mean) * torch.rsqrt(variance + norm.eps)
        return scaled * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)


class _Positions(nn.Module):
    """Positions as a convolution over the frames around each, of normed weights: `[N, D, T]`.

    Its weights are a direction and, for each place in the kernel, a length (weight norm).
    """

    def __init__(self, args: WaveArgs) -> None:
        super().__init__()
        shape = args.dim, args.dim // args.groups, args.positions
        deviation = math.sqrt(4 * (1 - args.dropout) / (args.positions * args.dim))
        self.direction = nn.Parameter(torch.randn(shape) * deviation)
        self.length = nn.Parameter(self.direction.detach().norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(args.dim))
        self.groups = args.groups
        self.padding = (args.positions // 2, (args.positions - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.direction.norm(dim=(0, 1), keepdim=True)
        weight = self.length * self.direction / norm
        around = F.pad(x, self.padding)
        return F.gelu(F.conv1d(around, weight, self.bias, groups=self.groups))


class _PostBlock(Block):
    """A block with a norm after each layer and its shortcut, as the base models have them."""

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        x = self.norm1(x + self.dropout(self._attended(x, there)))
        return cast(Tensor, self.norm2(x + self.dropout(self.mlp(x))))


class Wave(BlockEncoder):
    """Frames of a wave by convolutions, a transformer over them, and their mean.

    Ours: a wave is continued by silence, by what the last frame needs, so that it has one frame for
    each whole stride (`T // 320`), and one if it is shorter. No blocks are left out in training
    (LayerDrop), which ranks would have to do alike. The gradient of the convolutions is not scaled
    by 0.1, which Adam undoes. Small by default: 0.8 million parameters, where the base models have
    95.
    """

    takes: tuple[Form, ...] = ("sequence",)
    prefix_tokens = 0

    def __init__(self, channels: int, length: int | None, args: WaveArgs) -> None:
        super().__init__()
        self.convolutions = _Convolutions(channels, args)
        stride, reach = 1, 1
        for kernel, step in self.convolutions.shapes:
            reach, stride = reach + (kernel - 1) * stride, stride * step
        self.tail = reach - stride
        self.patch_size: tuple[int, ...] = (stride,)
        self.grid: tuple[int, ...] = (0 if length is None else max(length // stride, 1),)
        self.entry = nn.Sequential(nn.LayerNorm(args.channels), nn.Linear(args.channels, args.dim))
        self.positions = _Positions(args)
        block = Block if args.order == "pre" else _PostBlock
        self.blocks = nn.ModuleList(block(args) for _ in range(args.depth))
        self.norm = nn.LayerNorm(args.dim)
        self.is_pre = args.order == "pre"
        self.dropout = nn.Dropout(args.dropout)
        self.embed_dim = args.dim
        self.apply(_initialised)

    def patches(self, x: Tensor | Ragged) -> Tensor:
        """Return the values from where each frame begins to the next one, `[N, T, C * stride]`."""
        values = self._continued(x)[0]
        (stride,) = self.patch_size
        frames = (values.shape[2] - self.tail) // stride
        whole = values[:, :, : frames * stride]
        parted = whole.reshape(*whole.shape[:2], frames, stride)
        return parted.transpose(1, 2).flatten(2)

    def token_lengths(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N]` int64, the frames of each row."""
        (stride,) = self.patch_size
        if isinstance(x, Ragged):
            return torch.div(x.lengths, stride, rounding_mode="floor").clamp(min=1)
        return torch.full((len(x),), max(x.shape[2] // stride, 1), device=x.device)

    def _ended(self, tokens: Tensor) -> Tensor:
        return super()._ended(tokens) if self.is_pre else tokens

    def _drawn_hidden(self, token: Tensor) -> Tensor:
        return nn.init.uniform_(token)

    def _embedded(self, x: Sequences, keep: Tensor | None, hide: Tensor | None) -> Encoded:
        """Return frames with their positions, and where there are any."""
        tokens, there = self._frames(x)
        tokens = self._hidden(self.dropout(self.entry(tokens)), hide)
        around = kept(tokens.mT, there)
        if keep is not None:  # positions must not tell what is hidden
            visible = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
            around = kept(around, visible.scatter(1, keep, True))
        tokens = tokens + self.positions(around).mT
        tokens, there = left(tokens, there, keep)
        tokens = tokens if self.is_pre else self.norm(tokens)
        return self.dropout(tokens), there

    def _frames(self, x: Tensor | Ragged) -> tuple[Tensor, Tensor | None]:
        """Return the convolutions' frames `[N, T, channels]`, and where there are any."""
        values, lengths = self._continued(x)
        frames = self.convolutions(values, lengths).mT
        if lengths is None:
            return frames, None
        count = self.token_lengths(x).unsqueeze(1)
        return frames, torch.arange(frames.shape[1], device=frames.device) < count

    def _continued(self, x: Tensor | Ragged) -> tuple[Tensor, Tensor | None]:
        """Return rows and the silence after them, `[N, C, T]`, and their lengths with it."""
        (stride,) = self.patch_size
        values, there = padded(x)
        short = max(stride - values.shape[2], 0)
        values = F.pad(values, (0, short + self.tail))
        if not isinstance(x, Ragged) or there is None:
            return values, None
        return values, x.lengths.clamp(min=stride) + self.tail


def _initialised(module: nn.Module) -> None:
    """Draw the weights of linear layers as BERT's are."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


@ENCODERS.register("wave")
def wave(config: EncoderConfig, spec: Spec) -> Wave:
    """Build wav2vec 2.0's and HuBERT's network over waveforms, small by default."""
    (length,) = spec.size
    return Wave(spec.channels, length, args_of(config, WaveArgs))
