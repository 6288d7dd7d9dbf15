"""Protocols of encoders: every encoder pools; some also give tokens or feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A backbone; `embed_dim` is the D of its pooled vector."""

    embed_dim: int

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Return the pooled vector, `[N, ...] -> [N, D]`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder over a grid of patches."""

    embed_dim: int
    patch_size: tuple[int, int]
    grid: tuple[int, int]

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return tokens, `[N, C, H, W] -> [N, P + K, D]`.

        They are P prefix tokens (class, registers), then the patches `keep: [N, K]` (int64
        positions in row-major order) or, with None, all of them. Hidden patches cost nothing.
        """

    def pool(self, tokens: Tensor) -> Tensor:
        """Pool tokens as `embed` does, `[N, P + K, D] -> [N, D]`."""

    @property
    def prefix_tokens(self) -> int:
        """Return P, the number of tokens before the patches."""


@runtime_checkable
class DenseEncoder(Protocol):
    """An encoder with a spatial output of `dense_dim` channels, in most families the pooled D."""

    dense_dim: int

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the last feature map, `[N, C, H, W] -> [N, dense_dim, h, w]`."""


@runtime_checkable
class PyramidEncoder(Protocol):
    """An encoder with a map after each stage; `stage_dims` are their channels, first to last."""

    stage_dims: tuple[int, ...]

    def stage_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each stage's map `[N, stage_dims[i], h_i, w_i]` and the pooled `[N, D]`.

        Both come from one forward pass of `[N, C, H, W]`.
        """
