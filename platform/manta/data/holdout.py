"""Split of a dataset into training rows and rows held out: a pure function of size and fraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from manta.data._whole_groups import HeldStretches, choose_groups, named_groups, stretches_of
from manta.data.arrays import RowIndexes
from manta.data.groups import Groups, open_groups
from manta.data.manifest import Manifest
from manta.splitmix import GOLDEN, mix

_SHOWN_GROUPS = 4
Split = Literal["bank", "queries"]
"""Name of a split: "bank" are the training rows, which probes are fitted to; "queries" the rows
held out of training, on which they are scored."""


class Holdout:
    """Division of a dataset's rows into queries, which are held out of training, and the bank.

    The rows are cut into blocks of `round(1 / fraction)`, and one row of each block is a query,
    chosen by a hash of the block's number. Queries therefore depend neither on the seed nor on the
    batch size of a run.

    Where rows belong to groups, a group is a query or in the bank as a whole: groups are chosen by
    a hash of their names, and rows of no group as they are without groups.

    Args:
        fraction: fraction of the rows to hold out; 0 puts all rows into the bank.
        limit: use only so many of the manifest's first rows; None: all.
        names: groups to hold out, these alone, in place of a fraction.

    Attributes:
        held_groups: names of the groups that are held out.

    Raises:
        ConfigError: there are no groups of these names.
        DataError: there is a single group, or its file cannot be read.
    """

    def __init__(
        self,
        manifest: Manifest,
        fraction: float = 0.0,
        *,
        limit: int | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.rows = manifest.rows if limit is None else min(limit, manifest.rows)
        self._period = max(2, round(1 / fraction)) if fraction > 0 else None
        self._stretches: HeldStretches | None = None
        self.held_groups: list[str] = []
        if names or (fraction > 0 and manifest.groups):
            groups = open_groups(manifest)
            if names or groups is not None:
                self._hold_groups(groups, fraction, names)
        self.query_rows = int(self.queries_below(np.array([self.rows]))[0])
        self.bank_rows = self.rows - self.query_rows

    def notes(self, asked: float | None = None) -> list[str]:
        """Return a line on the groups that are held out; none where there are no groups.

        Args:
            asked: the fraction that was to be held out.
        """
        if self._stretches is None:
            return []
        names, count = self.held_groups[:_SHOWN_GROUPS], len(self.held_groups)
        listed = ", ".join([*names, "..."] if count > len(names) else names)
        share = self.query_rows / max(self.rows, 1)
        about = f" ({asked:.1%} was asked)" if asked is not None else ""
        groups = "group" if count == 1 else "groups"
        return [
            f"held out {count:,} whole {groups} ({listed}): {self.query_rows:,} of {self.rows:,} "
            f"rows, {share:.1%}{about}"
        ]

    def size(self, split: Split) -> int:
        """Return the number of rows of a split."""
        return self.bank_rows if split == "bank" else self.query_rows

    def pick(self, split: Split, numbers: RowIndexes) -> RowIndexes:
        """Return the rows at positions `numbers` of a split, counted in the manifest's order."""
        if self._stretches is not None:
            found = self._stretches
            return found.held(numbers) if split == "queries" else found.free(numbers)
        if self._period is None:
            return numbers if split == "bank" else numbers[:0]
        if split == "queries":
            return numbers * self._period + self._place_in_block(numbers)
        block, place = np.divmod(numbers, self._period - 1)
        return block * self._period + place + (place >= self._place_in_block(block))

    def sample(self, split: Split, limit: int | None = None) -> RowIndexes:
        """Return the rows of a split, ascending: all, or the same `limit` of them at every call.

        One row is drawn from each of `limit` equal stretches of the data, so that every class is
        covered where the data are sorted by class.
        """
        count = self.size(split)
        if limit is None or count <= limit:
            return self.pick(split, np.arange(count))
        borders = np.arange(limit + 1) * count // limit
        # Drawn at random rather than evenly spaced: of periodic data, even spacing could pick the
        # same phase each time.
        numbers = np.random.default_rng(0).integers(borders[:-1], borders[1:])
        return self.pick(split, numbers)

    def queries_below(self, indexes: RowIndexes) -> RowIndexes:
        """Return the number of held-out rows below each index."""
        if self._stretches is not None:
            return self._stretches.below(indexes)
        if self._period is None:
            return np.zeros_like(indexes)
        block, place = np.divmod(indexes, self._period)
        return block + (place > self._place_in_block(block))

    def _hold_groups(self, groups: Groups | None, fraction: float, names: Sequence[str]) -> None:
        alone = np.empty(0, dtype=np.int64)
        if names or groups is None:
            held = named_groups(groups, names, self.rows)
        else:
            held = choose_groups(groups, fraction, self.rows)
            blocks = np.arange(-(-self.rows // (self._period or 1)))
            queries = blocks * (self._period or 1) + self._place_in_block(blocks)
            queries = queries[queries < self.rows]
            alone = queries[groups.of(queries) < 0]
        if groups is not None:
            self._stretches = stretches_of(groups, held, alone, self.rows)
            self.held_groups = [groups.names[number] for number in held]

    def _place_in_block(self, blocks: RowIndexes) -> RowIndexes:
        """Return the position of the held-out row within each block."""
        words = mix((blocks + 1) * GOLDEN).view(np.uint64)
        return (words % np.uint64(self._period or 1)).astype(np.int64)
