"""A transformer over patches of a series, after PatchTST (Nie et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.encoders._blocks import Block
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders._sequences import SequenceArgs, args_of, mean_pooled, padded, sines
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


class PatchTST(Encoder):
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
        self.hidden_token: nn.Parameter | None = None
        self.embed_dim = args.dim

    def embed(self, x: Tensor | Ragged) -> Tensor:
        tokens, there = self._encoded(x)
        return mean_pooled(tokens.transpose(1, 2), there)

    def patches(self, x: Tensor | Ragged) -> Tensor:
        """Return the raw values of each patch, `[N, T, C * patch]`."""
        return self._patches(x)[0]

    def learn_hidden(self) -> None:
        """Add the learnt vector that `hide` puts in the place of patches."""
        if self.hidden_token is None:
            token = torch.empty(self.embed_dim, device=self.entry.weight.device)
            self.hidden_token = nn.Parameter(nn.init.trunc_normal_(token, std=0.02))

    def tokens(
        self, x: Tensor | Ragged, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> Tensor:
        return self._encoded(x, keep, hide)[0]

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)

    def layers(self, x: Tensor | Ragged, hide: Tensor | None = None) -> list[Tensor]:
        """Return the tokens after each block, `[N, T, D]`, before the last norm."""
        tokens, there = self._embedded(x, hide)
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, there)
            outputs.append(tokens)
        return outputs

    def token_lengths(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N]` int64, the tokens of each row that have a value."""
        if isinstance(x, Ragged):
            return -(-x.lengths // self.patch_size[0])
        return torch.full((len(x),), -(-x.shape[2] // self.patch_size[0]), device=x.device)

    def _encoded(
        self, x: Tensor | Ragged, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        tokens, there = self._embedded(x, hide)
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
            there = None if there is None else there.gather(1, keep)
        for block in self.blocks:
            tokens = block(tokens, there)
        return self.norm(tokens), there

    def _embedded(self, x: Tensor | Ragged, hide: Tensor | None) -> tuple[Tensor, Tensor | None]:
        patches, there = self._patches(x)
        tokens = self.entry(patches)
        if hide is not None:
            if self.hidden_token is None:
                raise RuntimeError("call learn_hidden() before tokens are hidden")
            tokens = torch.where(hide.unsqueeze(2), self.hidden_token.to(tokens.dtype), tokens)
        positions = sines(tokens.shape[1], self.embed_dim, tokens.device)
        return self.dropout(tokens + positions.to(tokens.dtype)), there

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
