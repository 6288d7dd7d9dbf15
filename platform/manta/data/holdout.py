"""Which rows are held out of training: a pure function of the number of rows and a fraction."""

from __future__ import annotations

from typing import Literal

import numpy as np

from manta.data.arrays import RowIndexes
from manta.data.manifest import Manifest
from manta.splitmix import GOLDEN, mix

Split = Literal["bank", "queries"]
"""The training rows, from which probes learn, or the rows held out of training."""


class Holdout:
    """The two splits of a dataset's rows: queries are held out of training, the bank is not.

    The rows are cut into blocks of `round(1 / fraction)`, and one row of each block is a query,
    chosen by a hash of the block's number: whatever the seed and the batch size of a run, its
    queries are the same.

    Args:
        fraction: of the rows, held out; 0 puts all of them into the bank.
        limit: only the first rows of the manifest count.
    """

    def __init__(
        self, manifest: Manifest, fraction: float = 0.0, *, limit: int | None = None
    ) -> None:
        self.rows = manifest.rows if limit is None else min(limit, manifest.rows)
        self._period = max(2, round(1 / fraction)) if fraction > 0 else None
        self.query_rows = int(self.queries_below(np.array([self.rows]))[0])
        self.bank_rows = self.rows - self.query_rows

    def size(self, split: Split) -> int:
        """Return the number of rows of a split."""
        return self.bank_rows if split == "bank" else self.query_rows

    def pick(self, split: Split, numbers: RowIndexes) -> RowIndexes:
        """Return the rows that are number 0, 1, ... of a split in the order of the manifest."""
        if self._period is None:
            return numbers if split == "bank" else numbers[:0]
        if split == "queries":
            return numbers * self._period + self._place_in_block(numbers)
        block, place = np.divmod(numbers, self._period - 1)
        return block * self._period + place + (place >= self._place_in_block(block))

    def sample(self, split: Split, limit: int | None = None) -> RowIndexes:
        """Return rows of a split, ascending: all, or `limit` of them, the same at every call.

        One row is drawn from each of `limit` equal stretches of the data, so that data sorted by
        class are all seen.
        """
        count = self.size(split)
        if limit is None or count <= limit:
            return self.pick(split, np.arange(count))
        borders = np.arange(limit + 1) * count // limit
        # Drawn, not evenly spaced: data with a period would show one phase of it only.
        numbers = np.random.default_rng(0).integers(borders[:-1], borders[1:])
        return self.pick(split, numbers)

    def queries_below(self, indexes: RowIndexes) -> RowIndexes:
        """Return how many rows below each index are held out."""
        if self._period is None:
            return np.zeros_like(indexes)
        block, place = np.divmod(indexes, self._period)
        return block + (place > self._place_in_block(block))

    def _place_in_block(self, blocks: RowIndexes) -> RowIndexes:
        """Return which row of each block is held out."""
        words = mix((blocks + 1) * GOLDEN).view(np.uint64)
        return (words % np.uint64(self._period or 1)).astype(np.int64)
