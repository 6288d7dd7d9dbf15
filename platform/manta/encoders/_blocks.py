"""The block of transformers that Manta writes itself."""

from __future__ import annotations

from typing import Protocol, cast

import torch.nn.functional as F
from torch import Tensor, nn


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
