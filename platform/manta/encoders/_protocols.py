"""What an objective may ask of an encoder. Every encoder pools; some also give tokens or feature
maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A backbone. `embed_dim` is the D of its pooled vector."""

    embed_dim: int

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """`[N, ...] -> [N, D]`, pooled."""

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder over a grid of patches."""

    embed_dim: int
    patch_size: tuple[int, int]
    grid: tuple[int, int]

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """`[N, C, H, W] -> [N, P + K, D]`: P prefix tokens (class, registers), then the patches
        `keep: [N, K]` (int64 positions in row-major order) or, with None, all of them. Hidden
        patches cost nothing."""

    def pool(self, tokens: Tensor) -> Tensor:
        """`[N, P + K, D] -> [N, D]`, as `embed` pools all of them."""

    @property
    def prefix_tokens(self) -> int:
        """P, the number of tokens before the patches."""


@runtime_checkable
class DenseEncoder(Protocol):
    """An encoder with a spatial output of `dense_dim` channels, the pooled vector's D in most
    families."""

    dense_dim: int

    def feature_map(self, x: Tensor) -> Tensor:
        """`[N, C, H, W] -> [N, dense_dim, h, w]`."""


@runtime_checkable
class PyramidEncoder(Protocol):
    """An encoder whose stages can be looked at: the channels of each stage's map, first to last."""

    stage_dims: tuple[int, ...]

    def stage_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """`[N, C, H, W] -> ([N, stage_dims[i], h_i, w_i] of each stage, [N, D] pooled)`, in one
        forward."""
