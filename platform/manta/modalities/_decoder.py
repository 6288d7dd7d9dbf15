"""Decoders of samples, and what they are given and give; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from manta.errors import DataError
from manta.leaves import Array, Layout


class BadSample(DataError):
    """A sample that cannot be used; the message is only the reason, in a few words."""


class NoReader(BadSample):
    """A sample that could be read with a library that is not installed here."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers of one row in one epoch, the same whoever decodes it and however often.

    Attributes:
        seed: of the run.
        epoch: in which the row is decoded.
        index: of the row.
    """

    seed: int
    epoch: int
    index: int

    def uniform(self, count: int = 1) -> npt.NDArray[np.float64]:
        """Return `[count]` numbers in [0, 1)."""
        words = np.random.SeedSequence([self.seed, self.epoch, self.index])
        return np.random.Generator(np.random.Philox(words)).random(count)

    def below(self, count: int) -> int:
        """Return a whole number of 0 to `count - 1`."""
        return min(int(self.uniform()[0] * count), count - 1)


class Decoder(Protocol):
    """Decoder of a row's bytes into its leaves; plain data that can be pickled.

    Attributes:
        layout: of the leaves.
        draws: what it returns depends on `draw`, so that a decoded row cannot be kept for another
            epoch.
    """

    @property
    def layout(self) -> Layout: ...

    @property
    def draws(self) -> bool: ...

    def __call__(self, data: bytes, draw: Draw | None) -> Mapping[str, Array]:
        """Return the leaves of a row.

        Args:
            draw: random numbers of the row in this epoch; None, for an evaluation: take the part
                that stands for the whole, such as the middle.

        Raises:
            BadSample: the bytes cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Something to look at for a row.

    Attributes:
        pixels: uint8 `[64, 64, 3]`.
        caption: what stands below it, or in its place; empty for none.
        sound: a short WAV that a page plays; empty for none.
    """

    pixels: Array
    caption: str = ""
    sound: bytes = b""
