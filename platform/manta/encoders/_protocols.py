"""Protocols of encoders: every encoder pools; some also give tokens or feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from manta.spec import Form


class Encoder(nn.Module, ABC):
    """A backbone.

    Attributes:
        embed_dim: the D of its pooled vector.
        takes: forms of input that it can be built for, as in `manta.spec.Spec`.
    """

    takes: tuple[Form, ...] = ("grid",)
    embed_dim: int

    # What x is follows from the spec that the encoder was built for: a tensor, `Ragged`, or a
    # mapping. Of the type Any, so that a subclass may name the one kind that it takes.
    @abstractmethod
    def embed(self, x: Any) -> Tensor:
        """Return the pooled vectors of N samples, `[N, D]`."""

    def forward(self, x: Any) -> Tensor:
        return self.embed(x)


@runtime_checkable
class TokenEncoder(Protocol):
    """An encoder over a grid of n axes of patches: 1 of a sequence, 2 of an image, 3 of a volume.

    It may also be a `PatchEncoder` and a `HidingEncoder`.
    """

    embed_dim: int
    patch_size: tuple[int, ...]
    grid: tuple[int, ...]

    def tokens(self, x: Any, keep: Tensor | None = None) -> Tensor:
        """Return tokens, `[N, C, *space] -> [N, P + K, D]`.

        They are P prefix tokens (class, registers), then the patches `keep: [N, K]` (int64
        positions in row-major order) or, with None, all of them. Hidden patches cost nothing.
        """

    def pool(self, tokens: Tensor) -> Tensor:
        """Pool tokens as `embed` does, `[N, P + K, D] -> [N, D]`."""

    @property
    def prefix_tokens(self) -> int:
        """Return P, the number of tokens before the patches."""


@runtime_checkable
class PatchEncoder(Protocol):
    """A token encoder that says what its tokens are made of."""

    def patches(self, x: Any) -> Tensor:
        """Return the raw content of each token in row-major order, `[N, T, numbers a patch]`."""


@runtime_checkable
class HidingEncoder(Protocol):
    """A token encoder that can put a learnt vector in the place of hidden tokens."""

    def learn_hidden(self) -> None:
        """Add the learnt vector, a parameter; an objective that hides tokens calls this first.

        An encoder without it has the weights that it always had. It is called `hidden_token`, which
        is left out where an encoder is saved: to embed takes no such vector.
        """

    def tokens(self, x: Any, keep: Tensor | None = None, hide: Tensor | None = None) -> Tensor:
        """Return tokens as `TokenEncoder.tokens`, of which `hide: [N, T]` bool are the vector."""

    def layers(self, x: Any, hide: Tensor | None = None) -> list[Tensor]:
        """Return what each block gives, first to last, `[N, T, D]` without prefix tokens.

        A final norm, which `tokens` ends in, is not applied.
        """


@runtime_checkable
class FrameEncoder(Protocol):
    """An encoder of sequences that gives a vector for each place in time, and can hide places."""

    dense_dim: int

    def frames(self, x: Any, hide: Tensor | None = None) -> Tensor:
        """Return `[N, dense_dim, T]`, zeros where a row has ended.

        What a row has at `hide: [N, T]` bool does not reach the encoder.
        """


@runtime_checkable
class DenseEncoder(Protocol):
    """An encoder with a spatial output of `dense_dim` channels, in most families the pooled D."""

    dense_dim: int

    def feature_map(self, x: Any) -> Tensor:
        """Return the last feature map, `[N, C, *space] -> [N, dense_dim, *cells]`."""


@runtime_checkable
class PyramidEncoder(Protocol):
    """An encoder with a map after each stage; `stage_dims` are their channels, first to last."""

    stage_dims: tuple[int, ...]

    def stage_maps(self, x: Any) -> tuple[list[Tensor], Tensor]:
        """Return each stage's map `[N, stage_dims[i], *cells]` and the pooled `[N, D]`.

        Both come from one forward pass of `[N, C, *space]`.
        """
