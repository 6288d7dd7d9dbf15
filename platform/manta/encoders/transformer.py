"""A transformer over token numbers, such as those of sentences, after BERT (Devlin et al. 2019)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.encoders._blocks import Block, BlockEncoder, Encoded, Sequences, left
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._sequences import SequenceArgs, args_of, sines
from manta.errors import ConfigError
from manta.ragged import Ragged
from manta.spec import Form, Spec

_STD = 0.02
"""Deviation of weights at the start, BERT's."""
_ENDED = -1


class TransformerArgs(SequenceArgs):
    """Settings in `encoder.args` of a `transformer`."""

    dim: int = Field(256, ge=2, multiple_of=2, description="width of the tokens")
    depth: int = Field(4, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    mlp: float = Field(4.0, gt=0, description="width of the hidden layer over that of the tokens")
    dropout: float = Field(0.1, ge=0, lt=1, description="in the blocks, in training")
    positions: Literal["sines", "learnt"] = Field(
        "sines", description="sines take rows of any length, learnt ones up to data.tokens"
    )
    pool: Literal["mean", "first"] = Field(
        "mean", description="the mean of a row's tokens, or a learnt token before them"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerArgs:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


class Transformer(BlockEncoder):
    """Tokens with positions, blocks with norms before their layers, and a pool over each row.

    A row is given as ragged numbers, or in a tensor `[N, T]` in which a negative number stands
    where a row has ended. Padding reaches nothing: a row gives the same features in any batch.

    Ours: LayerNorm before each layer in place of after it, as in most since.

    Args:
        vocabulary: how many token numbers there are.
        longest: row, which learnt positions need; None for any.
    """

    takes: tuple[Form, ...] = ("ids",)
    patch_size: tuple[int, ...] = (1,)

    def __init__(self, vocabulary: int, longest: int | None, args: TransformerArgs) -> None:
        super().__init__()
        self.grid: tuple[int, ...] = (longest or 0,)
        self.embed_dim = args.dim
        self.entry = nn.Embedding(vocabulary, args.dim)
        self.norm_in, self.norm = nn.LayerNorm(args.dim), nn.LayerNorm(args.dim)
        self.dropout = nn.Dropout(args.dropout)
        self.blocks = nn.ModuleList(Block(args) for _ in range(args.depth))
        self.positions = self._positions(longest, args)
        first = torch.empty(args.dim) if args.pool == "first" else None
        self.first = None if first is None else nn.Parameter(first)
        self.prefix_tokens = 0 if self.first is None else 1
        self._initialise()

    def embed(self, x: Sequences) -> Tensor:
        return super().embed(x) if self.first is None else self.tokens(x)[:, 0]

    def pool(self, tokens: Tensor) -> Tensor:
        return super().pool(tokens) if self.first is None else tokens[:, 0]

    def token_lengths(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N]` int64, the tokens of each row."""
        return x.lengths if isinstance(x, Ragged) else (x >= 0).sum(1)

    def _drawn_hidden(self, token: Tensor) -> Tensor:
        return nn.init.normal_(token, std=_STD)

    def _embedded(self, x: Sequences, keep: Tensor | None, hide: Tensor | None) -> Encoded:
        """Return what the first block is given, and `[N, P + T]` bool where there is a token."""
        ids = x.padded(_ENDED)[0] if isinstance(x, Ragged) else x
        # Of a row without a token the first place counts: attention to nothing is no number.
        there = (ids >= 0) | (torch.arange(ids.shape[1], device=ids.device) == 0)
        tokens = self._hidden(self.entry(ids.clamp(min=0)), hide)
        tokens = tokens + self._placed(ids.shape[1]).to(tokens.dtype)
        tokens, seen = left(tokens, there, keep)
        if self.first is not None and seen is not None:
            first = self.first.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
            tokens = torch.cat([first, tokens], dim=1)
            seen = F.pad(seen, (1, 0), value=True)
        return self.dropout(self.norm_in(tokens)), seen

    def _positions(self, longest: int | None, args: TransformerArgs) -> nn.Parameter | None:
        if args.positions == "sines":
            return None
        if longest is None:
            raise ConfigError(
                "encoder.args.positions: learnt ones need a longest row; choose sines"
            )
        return nn.Parameter(torch.empty(longest, args.dim))

    def _placed(self, count: int) -> Tensor:
        """Return what is added to tokens by their places, `[count, D]`."""
        if self.positions is None:
            scale = math.sqrt(2) * _STD  # as large as what tokens are at the start
            return scale * sines(count, self.embed_dim, self.entry.weight.device)
        # After the longest row there is nothing but padding.
        places = torch.arange(count, device=self.positions.device)
        return self.positions[places.clamp(max=len(self.positions) - 1)]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for vector in (self.positions, self.first):
            if vector is not None:
                nn.init.normal_(vector, std=_STD)


@ENCODERS.register("transformer")
def transformer(config: EncoderConfig, spec: Spec) -> Transformer:
    """Build a transformer over token numbers, after BERT (Devlin et al. 2019)."""
    longest = spec.size[0] if spec.size else None
    return Transformer(spec.vocabulary, longest, args_of(config, TransformerArgs))
