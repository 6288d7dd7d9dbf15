"""A transformer over patches of a series, after PatchTST (Nie et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.encoders._blocks import Block, BlockEncoder, Encoded, Sequences, left
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._sequences import SequenceArgs, args_of, padded, sines
from manta.ragged import Ragged
from manta.spec import Form, Spec

_USUAL_PATCH, _USUAL_TOKENS = 16, 16
"""The paper's patch, and the tokens that a shorter series gets."""


class PatchTSTArgs(SequenceArgs):
    """Settings in `encoder.args` of a `patchtst`."""

    patch: int | None = Field(
        None, ge=1, description="values over time in a token; None: 16, fewer of short series"
    )
    dim: int = Field(128, ge=2, multiple_of=2, description="width of the tokens")
    depth: int = Field(3, ge=1, description="blocks")
    heads: int = Field(8, ge=1, description="attention heads; they divide the width")
    mlp: float = Field(2.0, gt=0, description="width of the hidden layer over that of the tokens")
    dropout: float = Field(0.1, ge=0, lt=1, description="in the blocks, in training")

    @model_validator(mode="after")
    def _heads_divide(self) -> PatchTSTArgs:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


class PatchTST(BlockEncoder):
    """Tokens of patches that do not overlap, with fixed sines as positions, and their mean.

    Ours: the channels of a patch make one token, where the paper passes each channel by itself;
    LayerNorm before each layer in place of BatchNorm after it. A row is continued by zeros to whole
    patches, and a token counts if it has a value.
    """

    takes: tuple[Form, ...] = ("sequence",)
    prefix_tokens = 0

    def __init__(self, channels: int, length: int | None, args: PatchTSTArgs) -> None:
        super().__init__()
        side = args.patch or _patch_for(length)
        self.patch_size: tuple[int, ...] = (side,)
        self.grid: tuple[int, ...] = (-(-(length or 0) // side),)
        self.entry = nn.Linear(channels * side, args.dim)
        self.dropout = nn.Dropout(args.dropout)
        self.blocks = nn.ModuleList(Block(args) for _ in range(args.depth))
        self.norm = nn.LayerNorm(args.dim)
        self.embed_dim = args.dim

    def patches(self, x: Tensor | Ragged) -> Tensor:
        """Return the raw values of each patch, `[N, T, C * patch]`."""
        return self._patches(x)[0]

    def token_lengths(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N]` int64, the tokens of each row that have a value."""
        if isinstance(x, Ragged):
            return -(-x.lengths // self.patch_size[0])
        return torch.full((len(x),), -(-x.shape[2] // self.patch_size[0]), device=x.device)

    def _embedded(self, x: Sequences, keep: Tensor | None, hide: Tensor | None) -> Encoded:
        patches, there = self._patches(x)
        tokens = self._hidden(self.entry(patches), hide)
        positions = sines(tokens.shape[1], self.embed_dim, tokens.device)
        return left(self.dropout(tokens + positions.to(tokens.dtype)), there, keep)

    def _patches(self, x: Tensor | Ragged) -> tuple[Tensor, Tensor | None]:
        values, there = padded(x)
        (side,) = self.patch_size
        missing = -values.shape[2] % side
        whole = F.pad(values, (0, missing))
        rows, channels, length = whole.shape
        patches = whole.reshape(rows, channels, length // side, side).transpose(1, 2).flatten(2)
        if there is not None:
            there = F.pad(there, (0, missing)).reshape(rows, length // side, side).any(2)
        return patches, there


@ENCODERS.register("patchtst")
def patchtst(config: EncoderConfig, spec: Spec) -> PatchTST:
    """Build a transformer over patches of time, after PatchTST (Nie et al. 2023)."""
    (length,) = spec.size
    return PatchTST(spec.channels, length, args_of(config, PatchTSTArgs))


def _patch_for(length: int | None) -> int:
    """Return the paper's patch, or a shorter one that divides a short series well."""
    if length is None:
        return _USUAL_PATCH
    most = min(max(length // _USUAL_TOKENS, 1), _USUAL_PATCH)
    # Half as long views should have whole patches too.
    for multiple in (2, 1):
        fitting = [side for side in range(most, most // 2, -1) if length % (multiple * side) == 0]
        if fitting:
            return fitting[0]
    return most
