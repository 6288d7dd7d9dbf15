"""The order of samples: a pure function of (seed, epoch, manifest). No Ray, no files.

An epoch goes like this. Row groups, less the rows held out, are *pieces*. Their order is permuted
by (seed, epoch), and they are laid end to end; what does not fill a last batch falls off the end.
The line is cut into equal *lanes*, and each lane into *segments* of a few steps. Within a (lane,
segment) rows are permuted; each step takes the next rows of every lane. A rank owns neighbouring
lanes, so it reads row groups that no other rank reads (but for those on a border), and the batch of
all ranks is the same for any number of them that divides the number of lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from manta.data.arrays import RowIndexes
from manta.data.holdout import Holdout
from manta.data.manifest import Manifest
from manta.errors import ConfigError, DataError

_LANES = 8
_Line = tuple[int, npt.NDArray[np.int32], RowIndexes]
"""Of an epoch: its number, its pieces in order, and where each ends."""


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """Consecutive steps of an epoch for one rank, whose rows were shuffled together.

    Attributes:
        first_step: within the epoch.
        indexes: `[steps, batch_size / world]`, the rows of each step in order.
    """

    epoch: int
    number: int
    first_step: int
    indexes: RowIndexes

    @property
    def steps(self) -> int:
        return len(self.indexes)


class Plan:
    """Map of (epoch, step, rank) to row numbers.

    Args:
        batch_size: global, over all ranks.
        limit: only the first rows of the manifest are there.
        holdout: fraction held out of training.
        shuffle_rows: least number of rows that a segment mixes, as far as the epoch has them.

    Attributes:
        holdout: the splits; an epoch visits the bank.

    Raises:
        DataError: fewer training rows than one batch takes.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        seed: int,
        batch_size: int,
        limit: int | None = None,
        holdout: float = 0.1,
        shuffle_rows: int = 4096,
    ) -> None:
        self.seed = seed
        self.batch_size = batch_size
        self.holdout = Holdout(manifest, holdout, limit=limit)
        self.rows = self.holdout.rows
        self.train_rows, self.held_out_rows = self.holdout.bank_rows, self.holdout.query_rows
        last = int(np.searchsorted(manifest.group_starts, self.rows, side="left"))
        borders = np.minimum(manifest.group_starts[: last + 1], self.rows)
        # Border i of the row groups in the numbering that counts training rows only.
        self._borders = borders - self.holdout.queries_below(borders)
        self.steps_per_epoch = self.train_rows // batch_size
        if self.steps_per_epoch == 0:
            raise DataError(
                f"{self.train_rows} training rows ({self.rows} less {self.held_out_rows} held "
                f"out) do not fill a batch of {batch_size}; lower train.batch_size, raise "
                "data.limit or give more data"
            )
        self._line: _Line | None = None  # of the epoch last asked for
        steps_to_mix = math.ceil(shuffle_rows / batch_size)
        self.segments_per_epoch = max(1, self.steps_per_epoch // steps_to_mix)

    def lanes(self, world: int) -> int:
        """Return the number of lanes of an epoch for `world` ranks.

        Raises:
            ConfigError: ranks cannot have equal parts of a batch.
        """
        if self.batch_size % world:
            raise ConfigError(
                f"train.batch_size {self.batch_size} is no multiple of resources.workers {world}"
            )
        common = math.lcm(_LANES, world)
        if self.batch_size % common == 0:
            return common
        fitting = [n for n in range(world, _LANES + 1, world) if self.batch_size % n == 0]
        return fitting[-1] if fitting else world

    def locate(self, step: int) -> tuple[int, int]:
        """Return `(epoch, step in it)` of a step of the whole run."""
        return divmod(step, self.steps_per_epoch)

    def segment_of(self, step: int) -> int:
        """Return the number of the segment that holds a step of an epoch."""
        return ((step + 1) * self.segments_per_epoch - 1) // self.steps_per_epoch

    def segment_start(self, number: int) -> int:
        """Return the first step of a segment; for the number after the last, an epoch's steps."""
        return number * self.steps_per_epoch // self.segments_per_epoch

    def segment(self, epoch: int, number: int, *, rank: int = 0, world: int = 1) -> Segment:
        """Return the rows that a rank sees in a segment."""
        lanes = self.lanes(world)
        mine = range(rank * lanes // world, (rank + 1) * lanes // world)
        share = self.batch_size // lanes
        first, stop = self.segment_start(number), self.segment_start(number + 1)
        parts = []
        for lane in mine:
            start = (lane * self.steps_per_epoch + first) * share
            rows = self._rows_at(epoch, np.arange(start, start + (stop - first) * share))
            rows = np.random.default_rng([self.seed, epoch, lane + 1, number]).permutation(rows)
            parts.append(rows.reshape(stop - first, share))
        return Segment(epoch, number, first, np.concatenate(parts, axis=1))

    def indexes(self, epoch: int, step: int, *, rank: int = 0, world: int = 1) -> RowIndexes:
        """Return `[batch_size / world]`: the rows that a rank sees in a step of an epoch."""
        segment = self.segment(epoch, self.segment_of(step), rank=rank, world=world)
        rows: RowIndexes = segment.indexes[step - segment.first_step]
        return rows

    def groups_first_needed(self, epoch: int) -> RowIndexes:
        """Return row groups about in the order in which an epoch comes to them: the lanes take
        turns."""
        order, ends = self._order(epoch)
        share = self.steps_per_epoch * self.batch_size // _LANES
        cuts = [
            0,
            *np.searchsorted(ends, np.arange(1, _LANES) * share, side="right").tolist(),
            len(order),
        ]
        lane = np.repeat(np.arange(_LANES), np.diff(cuts))
        place = np.arange(len(order)) - np.asarray(cuts)[lane]
        return order[np.lexsort((lane, place))].astype(np.int64)

    def _rows_at(self, epoch: int, positions: RowIndexes) -> RowIndexes:
        """Return the rows at positions of the line that an epoch's pieces form."""
        order, ends = self._order(epoch)
        place = np.searchsorted(ends, positions, side="right")
        back = ends[place] - positions  # at least 1: places before the piece's end
        numbers = self._borders[order[place].astype(np.int64) + 1] - back
        return self.holdout.pick("bank", numbers)

    def _order(self, epoch: int) -> tuple[npt.NDArray[np.int32], RowIndexes]:
        """Return the pieces in their order, and where each ends."""
        line = self._line
        if line is None or line[0] != epoch:
            order = _permutation(self.seed, epoch, len(self._borders) - 1)
            line = self._line = epoch, order, np.cumsum(np.diff(self._borders)[order])
        return line[1:]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int32]:
    # Kept per process: a decode task gets a fresh copy of the plan, but its process goes on.
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)
