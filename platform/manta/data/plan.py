"""The order of samples: a pure function of (seed, epoch, manifest). No Ray, no files.

Row groups without the rows held out are called *pieces*. In each epoch the pieces are permuted by
(seed, epoch) and laid end to end; rows that do not fill a last batch are dropped. This line is cut
into equal *lanes*, and each lane into *segments* of a few steps. Rows are permuted within each
(lane, segment), and each step takes the next rows of every lane. A rank owns neighbouring lanes, so
it reads row groups that no other rank reads (except those at a border), and the global batch is the
same for every number of ranks that divides the number of lanes.

With *buckets* the rows of each (lane, segment) are sorted by their lengths, equal ones in the drawn
order, and cut into steps, which are then permuted, all lanes alike: so a step has rows of like
lengths on all ranks, and a segment the same rows as without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from manta.data.arrays import RowIndexes
from manta.data.holdout import Holdout
from manta.data.lengths import open_lengths
from manta.data.manifest import Manifest
from manta.errors import ConfigError, DataError
from manta.lanes import LANES, lane_count

_BUCKETS = 1
"""Purpose of the random number stream that orders the steps of a segment."""
_Line = tuple[int, npt.NDArray[np.int32], RowIndexes]
"""An epoch's number, its pieces in order, and the position at which each ends."""


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """Consecutive steps of an epoch on one rank, whose rows were shuffled together.

    Attributes:
        number: of the segment, within the epoch.
        first_step: its first step, within the epoch.
        indexes: rows of each step, `[steps, batch_size / world]`.
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
        limit: use only so many of the manifest's first rows; None: all.
        holdout: fraction of the rows held out of training.
        holdout_group: names of groups that are held out instead.
        shuffle_rows: least number of rows that are shuffled together, if the epoch has so many.
        buckets: give each step rows of like lengths.

    Attributes:
        holdout: the two splits; an epoch visits the rows of the bank.

    Raises:
        ConfigError: buckets of images.
        DataError: there are fewer training rows than one batch needs, or no lengths for buckets.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        seed: int,
        batch_size: int,
        limit: int | None = None,
        holdout: float = 0.1,
        holdout_group: Sequence[str] = (),
        shuffle_rows: int = 4096,
        buckets: bool = False,
    ) -> None:
        self.seed = seed
        self.batch_size = batch_size
        # Opened by whoever needs them: a plan travels to decode tasks, a table does not.
        self._bucketed = manifest if buckets else None
        if buckets:
            open_lengths(manifest)
        self.holdout = Holdout(manifest, holdout, limit=limit, names=holdout_group)
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
            ConfigError: the batch cannot be divided equally among the ranks.
        """
        if self.batch_size % world:
            raise ConfigError(
                f"train.batch_size {self.batch_size} is no multiple of resources.workers {world}"
            )
        return lane_count(self.batch_size, world)

    def locate(self, step: int) -> tuple[int, int]:
        """Return `(epoch, step within the epoch)` of a step of the whole run."""
        return divmod(step, self.steps_per_epoch)

    def segment_of(self, step: int) -> int:
        """Return the number of the segment that contains a step of an epoch."""
        return ((step + 1) * self.segments_per_epoch - 1) // self.steps_per_epoch

    def segment_start(self, number: int) -> int:
        """Return the first step of a segment; one past the last, the number of steps."""
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
            if self._bucketed is not None:
                rows = rows[open_lengths(self._bucketed)[rows].argsort(kind="stable")]
            parts.append(rows.reshape(stop - first, share))
        indexes = np.concatenate(parts, axis=1)
        if self._bucketed is not None:
            stream = np.random.default_rng([self.seed, epoch, 0, number, _BUCKETS])
            indexes = indexes[stream.permutation(stop - first)]
        return Segment(epoch, number, first, indexes)

    def indexes(self, epoch: int, step: int, *, rank: int = 0, world: int = 1) -> RowIndexes:
        """Return the rows that a rank sees in a step of an epoch, `[batch_size / world]`."""
        segment = self.segment(epoch, self.segment_of(step), rank=rank, world=world)
        rows: RowIndexes = segment.indexes[step - segment.first_step]
        return rows

    def groups_first_needed(self, epoch: int) -> RowIndexes:
        """Return all row groups, roughly in the order in which an epoch first needs them.

        Every step reads from all lanes, so the lanes take turns.
        """
        order, ends = self._order(epoch)
        share = self.steps_per_epoch * self.batch_size // LANES
        cuts = [
            0,
            *np.searchsorted(ends, np.arange(1, LANES) * share, side="right").tolist(),
            len(order),
        ]
        lane = np.repeat(np.arange(LANES), np.diff(cuts))
        place = np.arange(len(order)) - np.asarray(cuts)[lane]
        return order[np.lexsort((lane, place))].astype(np.int64)

    def _rows_at(self, epoch: int, positions: RowIndexes) -> RowIndexes:
        """Return the rows at positions of the line into which an epoch's pieces are laid."""
        order, ends = self._order(epoch)
        place = np.searchsorted(ends, positions, side="right")
        back = ends[place] - positions  # distance to the piece's end, at least 1
        numbers = self._borders[order[place].astype(np.int64) + 1] - back
        return self.holdout.pick("bank", numbers)

    def _order(self, epoch: int) -> tuple[npt.NDArray[np.int32], RowIndexes]:
        """Return an epoch's pieces in order, and the position at which each ends."""
        line = self._line
        if line is None or line[0] != epoch:
            order = _permutation(self.seed, epoch, len(self._borders) - 1)
            line = self._line = epoch, order, np.cumsum(np.diff(self._borders)[order])
        return line[1:]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int32]:
    # Cached per process and not in the plan: each decode task unpickles a fresh plan, but the
    # process runs many tasks. Two epochs, since those at the end of one overlap with the next.
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)
