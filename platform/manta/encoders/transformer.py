"""A transformer over token numbers, such as those of sentences, after BERT (Devlin et al. 2019)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.encoders._blocks import Block
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders._sequences import SequenceArgs, args_of, mean_pooled, sines
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


class Transformer(Encoder):
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
        self.hidden_token: nn.Parameter | None = None
        self._initialise()

    @property
    def prefix_tokens(self) -> int:
        return 0 if self.first is None else 1

    def embed(self, x: Tensor | Ragged) -> Tensor:
        tokens, there = self._encoded(x)
        return tokens[:, 0] if self.first is not None else mean_pooled(tokens.mT, there)

    def learn_hidden(self) -> None:
        """Add the learnt vector that `hide` puts in the place of tokens."""
        if self.hidden_token is None:
            token = torch.empty(self.embed_dim, device=self.entry.weight.device)
            self.hidden_token = nn.Parameter(nn.init.normal_(token, std=_STD))

    def tokens(
        self, x: Tensor | Ragged, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> Tensor:
        return self._encoded(x, keep, hide)[0]

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0] if self.first is not None else tokens.mean(1)

    def layers(self, x: Tensor | Ragged, hide: Tensor | None = None) -> list[Tensor]:
        """Return the tokens after each block, `[N, T, D]`, before the last norm.

        Where a row has ended they mean nothing.
        """
        tokens, there = self._embedded(x, None, hide)
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, there)
            outputs.append(tokens[:, self.prefix_tokens :])
        return outputs

    def token_lengths(self, x: Tensor | Ragged) -> Tensor:
        """Return `[N]` int64, the tokens of each row."""
        return x.lengths if isinstance(x, Ragged) else (x >= 0).sum(1)

    def _encoded(
        self, x: Tensor | Ragged, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        tokens, there = self._embedded(x, keep, hide)
        for block in self.blocks:
            tokens = block(tokens, there)
        return self.norm(tokens), there

    def _embedded(
        self, x: Tensor | Ragged, keep: Tensor | None, hide: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what the first block is given, and `[N, P + T]` bool where there is a token."""
        ids = x.padded(_ENDED)[0] if isinstance(x, Ragged) else x
        # Of a row without a token the first place counts: attention to nothing is no number.
        there = (ids >= 0) | (torch.arange(ids.shape[1], device=ids.device) == 0)
        tokens = self.entry(ids.clamp(min=0))
        if hide is not None:
            if self.hidden_token is None:
                raise RuntimeError("call learn_hidden() before tokens are hidden")
            # A mask that was made for a larger batch goes on where these rows have all ended.
            is_hidden = hide[:, : ids.shape[1]].unsqueeze(2)
            tokens = torch.where(is_hidden, self.hidden_token.to(tokens.dtype), tokens)
        tokens = tokens + self._placed(ids.shape[1]).to(tokens.dtype)
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
            there = there.gather(1, keep)
        if self.first is not None:
            first = self.first.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
            tokens = torch.cat([first, tokens], dim=1)
            there = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        return self.dropout(self.norm_in(tokens)), there

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
