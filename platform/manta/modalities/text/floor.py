"""Counts of tokens and of pairs of them, weighted by how rare they are: the floor of sentences."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.modalities import Floor
from manta.modalities.text.decoder import LEAF
from manta.ragged import Leaves, Ragged

_BITS = 12
"""Of the width: tokens and pairs share 4,096 places, so that linear probes stay quick."""
_FIRST, _SECOND, _SPREAD, _WORD = 7_919, 104_729, 2_654_435_761, 0xFFFFFFFF


class WeightedWords(Floor):
    """TF-IDF of a sentence's tokens and of each two that follow one another, `[B, 4096]`.

    They are hashed to their places. What is fitted is in how many rows of the bank each place is
    taken, by which it is weighted; rows have length 1. In the end they are turned, which changes
    no cosine: a probe that scales each feature would else take the weights away again, and make
    the rarest words the loudest.
    """

    title: ClassVar[str] = "tf-idf of tokens and of pairs of them"

    def __call__(self, data: Leaves) -> Tensor:
        rows = cast(Ragged, data[LEAF])
        ids = rows.values.long() + 1
        row = torch.repeat_interleave(torch.arange(len(rows)), rows.lengths)
        is_pair = row[1:] == row[:-1]
        alone, pairs = _placed(ids, torch.zeros_like(ids)), _placed(ids[:-1], ids[1:])[is_pair]
        places = torch.cat([row, row[1:][is_pair]]) * (1 << _BITS) + torch.cat([alone, pairs])
        counts = torch.bincount(places, minlength=len(rows) << _BITS)
        return counts.view(len(rows), -1).float().log1p()

    def fitted(self, bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        seen = (bank > 0).sum(0)
        weights = ((1 + len(bank)) / (1 + seen)).log() + 1
        return _turned(F.normalize(bank * weights)), _turned(F.normalize(queries * weights))


def _placed(first: Tensor, second: Tensor) -> Tensor:
    """Return the place of each pair of numbers, the same on every machine."""
    mixed = (first * _FIRST + second * _SECOND) & _WORD
    return ((mixed * _SPREAD) & _WORD) >> (32 - _BITS)


def _turned(rows: Tensor) -> Tensor:
    """Return rows `[N, 2^k]` after random signs and the orthogonal Walsh-Hadamard transform."""
    width = rows.shape[1]
    signs = torch.randint(0, 2, (width,), generator=torch.Generator().manual_seed(0)) * 2 - 1
    mixed, step = rows * signs, 1
    while step < width:
        first, second = mixed.view(len(rows), -1, 2, step).unbind(2)
        mixed = torch.stack([first + second, first - second], dim=2).flatten(1)
        step *= 2
    turned: Tensor = mixed / math.sqrt(width)
    return turned
