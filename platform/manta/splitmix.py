"""splitmix64 (Steele, Lea and Flood 2014): a hash from counters to random-looking 64-bit words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # decode tasks import this module, and start sooner without torch
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Words = TypeVar("Words", Tensor, npt.NDArray[np.int64])

GOLDEN = -7046029254386353131
"""0x9E3779B97F4A7C15 as int64, the increment of the generator."""
_MULTIPLIERS = -4658895280553007687, -7723592293110705685
"""0xBF58476D1CE4E5B9 and 0x94D049BB133111EB as int64."""


def mix(words: Words) -> Words:
    """Return splitmix64's finaliser of int64 words, a NumPy array or a tensor of any shape."""
    # The algorithm needs unsigned arithmetic modulo 2^64; products of int64 wrap to the same bits.
    words = (words ^ _shift(words, 30)) * _MULTIPLIERS[0]
    words = (words ^ _shift(words, 27)) * _MULTIPLIERS[1]
    return words ^ _shift(words, 31)


def _shift(words: Words, bits: int) -> Words:
    """Return a logical right shift; `>>` on int64 would copy the sign bit."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
