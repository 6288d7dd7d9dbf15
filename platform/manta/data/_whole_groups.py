"""Choice of the groups that are held out as wholes, and the rows that this holds out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from manta.data.arrays import RowIndexes
from manta.data.groups import Groups
from manta.errors import ConfigError, DataError, did_you_mean

_SEED = 0
"""The same for all runs: their numbers are of the same held-out rows, whatever `train.seed` is."""
_EXCHANGES = 32


class HeldStretches:
    """Held-out rows as stretches, so that any row is found by one search.

    Args:
        starts, stops: first row of each stretch and one past its last, `[R]` ascending.
    """

    def __init__(self, starts: RowIndexes, stops: RowIndexes) -> None:
        self._starts = starts
        self._held_before = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
        self._free_before = starts - self._held_before[:-1]

    def below(self, indexes: RowIndexes) -> RowIndexes:
        """Return the number of held-out rows below each index."""
        if not len(self._starts):
            return np.zeros_like(indexes)
        place = np.searchsorted(self._starts, indexes, side="right")
        last = np.maximum(place - 1, 0)
        inside = np.minimum(indexes - self._starts[last], np.diff(self._held_before)[last])
        return np.where(place > 0, self._held_before[last] + inside, 0)

    def held(self, numbers: RowIndexes) -> RowIndexes:
        """Return the rows at positions `numbers` among the held-out ones."""
        place = np.searchsorted(self._held_before, numbers, side="right") - 1
        return self._starts[place] + numbers - self._held_before[place]

    def free(self, numbers: RowIndexes) -> RowIndexes:
        """Return the rows at positions `numbers` among the others."""
        return (
            numbers + self._held_before[np.searchsorted(self._free_before, numbers, side="right")]
        )


def stretches_of(groups: Groups, held: RowIndexes, alone: RowIndexes, rows: int) -> HeldStretches:
    """Return the stretches of rows that are held out.

    Args:
        held: numbers of the groups that are held out.
        alone: rows of no group that are held out.
        rows: rows that are used, from the first on.
    """
    of_held = np.isin(groups.numbers, held)
    starts = np.concatenate([groups.starts[of_held], alone])
    stops = np.concatenate([(groups.starts + groups.lengths)[of_held], alone + 1])
    order = np.argsort(starts)
    starts, stops = np.minimum(starts[order], rows), np.minimum(stops[order], rows)
    is_some = stops > starts
    return HeldStretches(starts[is_some], stops[is_some])


def choose_groups(groups: Groups, fraction: float, rows: int) -> RowIndexes:
    """Return the numbers of groups that hold about a fraction of all grouped rows together.

    They are taken in the order of a hash of their names, each if it brings the share nearer to
    what was asked; then groups are exchanged where that brings it nearer still. One is held out
    and one is left in any case.

    Raises:
        DataError: there is one group alone.
    """
    sizes = groups.sizes(rows)
    present = np.flatnonzero(sizes)
    if len(present) < 2:
        name = groups.names[present[0]] if len(present) else "none"
        raise DataError(
            f"all grouped rows are of one group ({name}), of which no part can be held out; leave "
            "data.group out, or set evaluation.holdout=0"
        )
    order = sorted(present.tolist(), key=lambda number: _hash(groups.names[number]))
    target = fraction * float(sizes.sum())
    held: list[int] = []
    total = 0
    for number in order:
        size = int(sizes[number])
        if abs(total + size - target) < abs(total - target) and len(held) + 1 < len(order):
            held.append(number)
            total += size
    if not held:
        held = [min(order, key=lambda number: int(sizes[number]))]
    return np.sort(_exchanged(held, order, sizes, target))


def named_groups(groups: Groups | None, names: Sequence[str], rows: int) -> RowIndexes:
    """Return the numbers of groups by their names.

    Raises:
        ConfigError: the data have no groups, or none of that name, or no other ones.
    """
    if groups is None:
        raise ConfigError(
            "evaluation.holdout_group needs groups, and the data have none; say by data.group "
            "what belongs together"
        )
    sizes = groups.sizes(rows)
    known = {name: number for number, name in enumerate(groups.names) if sizes[number]}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, list(known)[:20])
            near = did_you_mean(name, known)
            raise ConfigError(
                f"evaluation.holdout_group: there is no group {name!r}"
                f"{near if 'did you mean' in near else hint}"
            )
    held = np.array(sorted({known[name] for name in names}), dtype=np.int64)
    if int(sizes[held].sum()) == rows:
        raise ConfigError("evaluation.holdout_group names all groups; leave one to train on")
    return held


def _exchanged(held: list[int], order: list[int], sizes: RowIndexes, target: float) -> RowIndexes:
    """Return the held groups after single exchanges that bring their rows nearer to `target`."""
    inside = np.array(held, dtype=np.int64)
    outside = np.setdiff1d(np.array(order, dtype=np.int64), inside)
    for _ in range(_EXCHANGES):
        outside = outside[np.argsort(sizes[outside], kind="stable")]
        off = target - float(sizes[inside].sum())
        wanted = sizes[inside] + off
        place = np.clip(np.searchsorted(sizes[outside], wanted), 1, len(outside)) - 1
        place = np.stack([place, np.minimum(place + 1, len(outside) - 1)])
        rest = np.abs(sizes[outside][place] - wanted)
        side, which = np.unravel_index(int(rest.argmin()), rest.shape)
        if not rest[side, which] < abs(off):
            break
        other = place[side, which]
        inside[which], outside[other] = outside[other], inside[which]
    return inside


def _hash(name: str) -> bytes:
    text = f"{_SEED}\n{name}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
