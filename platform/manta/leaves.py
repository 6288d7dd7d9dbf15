"""Arrays of decoded rows by name: dense, or with a length of its own in every row.

A row's decoded field is a few named leaves: `{"image": [3, 32, 32] uint8}`, or `{"audio": [T]
float32}` with another T in every row. Decode tasks import this module, so it needs NumPy alone;
`manta.ragged` has torch's twin of `Packed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Type and shape of one array of a decoded row.

    Attributes:
        dtype: NumPy's name of it.
        shape: of a row; a first axis of None is every row's own. No other axis may be None.
        most: largest length of such a first axis.
    """

    dtype: str
    shape: tuple[int | None, ...]
    most: int | None = None

    def __post_init__(self) -> None:
        if None in self.shape[1:]:
            raise ValueError(f"only the first axis of a leaf may be ragged, not {self.shape}")
        if self.ragged and self.most is None:
            raise ValueError("a ragged leaf needs `most`, the largest length of a row")

    @property
    def ragged(self) -> bool:
        """Whether every row has a length of its own."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of a row, without the first axis where it is ragged."""
        return tuple(int(side) for side in self.shape if side is not None)

    @property
    def most_bytes(self) -> int:
        """Size of the largest row."""
        length = (self.most or 0) if self.ragged else 1
        return length * math.prod(self.inner) * np.dtype(self.dtype).itemsize


Layout = Mapping[str, Leaf]
"""The leaves of a row by name."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Ragged rows, end to end.

    Attributes:
        values: `[sum of lengths, ...]`.
        lengths: `[B]` int64.
    """

    values: Array
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes + self.lengths.nbytes)

    def __getitem__(self, places: slice | Array) -> Packed:
        """Return some of the rows: a slice shares memory, positions are copied."""
        stops = np.cumsum(self.lengths)
        starts = stops - self.lengths
        lengths = self.lengths[places]
        if isinstance(places, slice) and places.step in (None, 1):
            first, last = (starts[places], stops[places])
            values = self.values[first[0] : last[-1]] if len(first) else self.values[:0]
            return Packed(values, lengths)
        return Packed(self.values[_spans(starts[places], lengths)], lengths)


Column = Array | Packed
Columns = dict[str, Column]
"""The leaves of many rows by name, all of as many rows."""


def most_bytes(layout: Layout) -> int:
    """Return the size of the largest decoded row of a layout."""
    return sum(leaf.most_bytes for leaf in layout.values())


def row_count(columns: Columns) -> int:
    """Return the number of rows of `columns`, which has at least one leaf."""
    return len(next(iter(columns.values())))


def size_in_bytes(columns: Columns) -> int:
    """Return the memory that columns take."""
    return sum(column.nbytes for column in columns.values())


def take(columns: Columns, places: slice | Array) -> Columns:
    """Return some rows of every leaf, in the order of `places`."""
    return {name: column[places] for name, column in columns.items()}


def copied(columns: Columns) -> Columns:
    """Return columns in memory of their own, which may be written."""
    return {
        name: Packed(np.array(column.values), np.array(column.lengths))
        if isinstance(column, Packed)
        else np.array(column)
        for name, column in columns.items()
    }


def concatenated(layout: Layout, parts: Sequence[Columns]) -> Columns:
    """Return the rows of all parts, one after the other, in memory of their own."""
    out: Columns = {}
    for name, leaf in layout.items():
        columns = [part[name] for part in parts]
        if leaf.ragged:
            packed = [column for column in columns if isinstance(column, Packed)]
            values = [column.values for column in packed]
            empty = np.empty((0, *leaf.inner), dtype=leaf.dtype)
            out[name] = Packed(
                np.concatenate([empty, *values]),
                np.concatenate(
                    [np.empty(0, dtype=np.int64), *(column.lengths for column in packed)]
                ),
            )
        else:
            dense = [column for column in columns if not isinstance(column, Packed)]
            empty = np.empty((0, *leaf.inner), dtype=leaf.dtype)
            out[name] = np.concatenate([empty, *dense])
    return out


class Stack:
    """Builder of columns from decoded rows; a dense leaf is written in place, without a list.

    Args:
        rows: how many will be added.
    """

    def __init__(self, layout: Layout, rows: int) -> None:
        self._layout = layout
        self._dense = {
            name: np.empty((rows, *leaf.inner), dtype=leaf.dtype)
            for name, leaf in layout.items()
            if not leaf.ragged
        }
        self._items = tuple(self._dense.items())
        self._ragged: dict[str, list[Array]] = {
            name: [np.empty((0, *leaf.inner), dtype=leaf.dtype)] * rows
            for name, leaf in layout.items()
            if leaf.ragged
        }
        self._done = 0

    def add(self, row: Mapping[str, Array]) -> None:
        """Add a decoded row, one array for each leaf."""
        # Not by `put`: this is called for every image of a run.
        done = self._done
        for name, dense in self._items:
            dense[done] = row[name]
        if self._ragged:
            self._put_ragged(done, row)
        self._done = done + 1

    def put(self, place: int, row: Mapping[str, Array]) -> None:
        """Set the row of a place, which several threads may do; `columns` must be told of it."""
        for name, dense in self._dense.items():
            dense[place] = row[name]
        self._put_ragged(place, row)

    def _put_ragged(self, place: int, row: Mapping[str, Array]) -> None:
        for name, ragged in self._ragged.items():
            ragged[place] = np.asarray(row[name], dtype=self._layout[name].dtype)

    def columns(self, rows: int | None = None) -> Columns:
        """Return the rows that were added, or the first `rows` places."""
        stop = self._done if rows is None else rows
        out: Columns = {name: dense[:stop] for name, dense in self._dense.items()}
        for name, ragged in self._ragged.items():
            leaf = self._layout[name]
            lengths = np.array([len(row) for row in ragged[:stop]], dtype=np.int64)
            empty = np.empty((0, *leaf.inner), dtype=leaf.dtype)
            out[name] = Packed(np.concatenate([empty, *ragged[:stop]]), lengths)
        return {name: out[name] for name in self._layout}


class Gathered:
    """Builder of columns from parts; the dense leaves of a part are copied when it is added.

    Args:
        rows: how many will be added.
    """

    def __init__(self, layout: Layout, rows: int) -> None:
        self._layout = layout
        self._dense = {
            name: np.empty((rows, *leaf.inner), dtype=leaf.dtype)
            for name, leaf in layout.items()
            if not leaf.ragged
        }
        self._ragged = {name: leaf for name, leaf in layout.items() if leaf.ragged}
        self._parts: list[Columns] = []
        self._done = 0

    def add(self, part: Columns) -> None:
        """Add the rows of a part."""
        stop = self._done + row_count(part)
        for name, dense in self._dense.items():
            dense[self._done : stop] = part[name]
        if self._ragged:
            self._parts.append({name: part[name] for name in self._ragged})
        self._done = stop

    def columns(self) -> Columns:
        """Return all rows, in memory of their own."""
        ragged = concatenated(self._ragged, self._parts)
        return {**self._dense, **ragged} if ragged else dict(self._dense)


def _spans(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Array:
    """Return the positions of all values of rows that start at `starts`."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    places: Array = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return places
