"""The transformers that Manta writes itself: their block, and what encoders of blocks share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.encoders._protocols import Encoder
from manta.encoders._sequences import mean_pooled
from manta.ragged import Ragged

Sequences = Tensor | Ragged
Encoded = tuple[Tensor, Tensor | None]
"""Tokens `[N, T, D]`, and `[N, T]` bool where there are any; None for everywhere."""


class BlockArgs(Protocol):
    """Settings of a block: width, heads, width of the hidden layer over that of the tokens."""

    @property
    def dim(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def mlp(self) -> float: ...
    @property
    def dropout(self) -> float: ...


class Block(nn.Module):
    """Attention and a hidden layer, each with a norm before it and a shortcut around it."""

    def __init__(self, args: BlockArgs) -> None:
        super().__init__()
        dim, hidden = args.dim, round(args.dim * args.mlp)
        self.heads, self.rate = args.heads, args.dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(args.dropout), nn.Linear(hidden, dim)
        )
        self.dropout = nn.Dropout(args.dropout)

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Return tokens `[N, T, D]`, which attend to those that are `there: [N, T]` bool alone."""
        x = x + self.dropout(self._attended(self.norm1(x), there))
        return cast(Tensor, x + self.dropout(self.mlp(self.norm2(x))))

    def _attended(self, x: Tensor, there: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = None if there is None else there[:, None, None]
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=rate)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))


class BlockEncoder(Encoder):
    """Base of encoders of blocks over tokens, some of which may be hidden or left out.

    A subclass makes tokens of what it is given (`_embedded`), and has `blocks` and a last `norm`.
    """

    prefix_tokens: int
    blocks: nn.ModuleList
    norm: nn.LayerNorm
    hidden_token: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.hidden_token = None

    def embed(self, x: Sequences) -> Tensor:
        tokens, there = self._encoded(x)
        return mean_pooled(tokens.mT, there)

    def learn_hidden(self) -> None:
        """Add the learnt vector that `hide` puts in the place of tokens."""
        if self.hidden_token is None:
            token = torch.empty(self.embed_dim, device=self.norm.weight.device)
            self.hidden_token = nn.Parameter(self._drawn_hidden(token))

    def tokens(
        self, x: Sequences, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> Tensor:
        return self._encoded(x, keep, hide)[0]

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)

    def layers(self, x: Sequences, hide: Tensor | None = None) -> list[Tensor]:
        """Return the tokens after each block, `[N, T, D]`, before a norm that is the last.

        Where a row has ended they mean nothing.
        """
        tokens, there = self._embedded(x, None, hide)
        outputs = []
        for block in self.blocks:
            tokens = block(tokens, there)
            outputs.append(tokens[:, self.prefix_tokens :])
        return outputs

    @abstractmethod
    def _embedded(self, x: Sequences, keep: Tensor | None, hide: Tensor | None) -> Encoded:
        """Return what the first block is given."""

    def _encoded(
        self, x: Sequences, keep: Tensor | None = None, hide: Tensor | None = None
    ) -> Encoded:
        tokens, there = self._embedded(x, keep, hide)
        for block in self.blocks:
            tokens = block(tokens, there)
        return self._ended(tokens), there

    def _ended(self, tokens: Tensor) -> Tensor:
        """Return the last block's tokens as an encoder gives them."""
        return cast(Tensor, self.norm(tokens))

    def _drawn_hidden(self, token: Tensor) -> Tensor:
        """Draw the vector that stands in the place of hidden tokens, in place."""
        return nn.init.trunc_normal_(token, std=0.02)

    def _hidden(self, tokens: Tensor, hide: Tensor | None) -> Tensor:
        """Return tokens of which some are the learnt vector."""
        if hide is None:
            return tokens
        if self.hidden_token is None:
            raise RuntimeError("call learn_hidden() before tokens are hidden")
        # A mask that was made for a larger batch goes on where these rows have all ended.
        is_hidden = hide[:, : tokens.shape[1]].unsqueeze(2)
        return torch.where(is_hidden, self.hidden_token.to(tokens.dtype), tokens)


def left(tokens: Tensor, there: Tensor | None, keep: Tensor | None) -> Encoded:
    """Return the tokens `keep: [N, K]` of each row, in that order; with None all."""
    if keep is None:
        return tokens, there
    kept = tokens.gather(1, keep.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
    return kept, None if there is None else there.gather(1, keep)
