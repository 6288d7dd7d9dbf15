"""splitmix64 against its reference in plain integers, in both libraries that use it."""

from __future__ import annotations

import numpy as np
import torch

from manta.splitmix import GOLDEN, mix

WORD = (1 << 64) - 1


def reference(word: int) -> int:
    """Steele, Lea and Flood 2014, figure 17: the finaliser in unsigned arithmetic."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def test_the_first_numbers_of_the_generator() -> None:
    """Of seed 0, as the authors' C program prints them."""
    states = np.arange(1, 4, dtype=np.int64) * GOLDEN
    assert [hex(word) for word in mix(states).view(np.uint64).tolist()] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_numpy_and_torch_agree_with_plain_integers() -> None:
    words = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 1000, dtype=np.int64)
    expected = [reference(word) for word in words.view(np.uint64).tolist()]
    assert mix(words).view(np.uint64).tolist() == expected
    assert np.array_equal(mix(torch.from_numpy(words)).numpy(), mix(words))
    assert len(set(expected)) == 1000
