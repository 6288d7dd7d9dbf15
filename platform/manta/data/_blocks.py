"""Packing of decoded rows into Ray Data blocks.

One part of a batch is one row of a block, and each leaf of it is one buffer, with a second one for
the lengths where it is ragged. Ray Data never splits a row, and a buffer can be read in the object
store without a copy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manta.data.arrays import RowIndexes
from manta.leaves import Array, Columns, Layout, Packed

_LEAF, _LENGTHS = "leaf:", "lengths:"
"""Beginnings of the names of columns that hold a leaf, and the lengths of its rows."""


def pack(
    number: int, indexes: RowIndexes, data: Columns, labels: RowIndexes | None = None
) -> pa.Table:
    """Return a table of one row; `number` is the step or row group that the part belongs to."""
    columns = {"number": pa.array([number]), "index": _cell(indexes)}
    for name, column in data.items():
        columns[_LEAF + name] = _cell(column.values if isinstance(column, Packed) else column)
        if isinstance(column, Packed):
            columns[_LENGTHS + name] = _cell(column.lengths)
    if labels is not None:
        columns["labels"] = _cell(labels)
    return pa.table(columns)


def unpack(block: pa.Table, row: int, layout: Layout) -> tuple[int, RowIndexes, Columns]:
    """Return `(number, indexes, leaves of N rows)`, read-only views of the block."""
    indexes = _view(block, "index", row).view(np.int64)
    data: Columns = {}
    for name, leaf in layout.items():
        values = _view(block, _LEAF + name, row).view(leaf.dtype)
        if leaf.ragged:
            lengths = _view(block, _LENGTHS + name, row).view(np.int64)
            data[name] = Packed(values.reshape(int(lengths.sum()), *leaf.inner), lengths)
        else:
            data[name] = values.reshape(len(indexes), *leaf.inner)
    return block["number"][row].as_py(), indexes, data


def unpack_labels(block: pa.Table, row: int) -> RowIndexes | None:
    """Return the labels of a part as a read-only view, or None if it was packed without any."""
    if "labels" not in block.column_names:
        return None
    return _view(block, "labels", row).view(np.int64)


def _view(block: pa.Table, column: str, row: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of a cell without a copy."""
    # Straight from the buffers, because Arrow's scalars (`as_py`, `as_buffer`) copy the bytes.
    chunks = block[column].iterchunks()
    chunk = next(chunks)
    while row >= len(chunk):
        row -= len(chunk)
        chunk = next(chunks)
    _, offsets, data = chunk.buffers()
    first, stop = np.frombuffer(offsets, dtype=np.int64)[
        chunk.offset + row : chunk.offset + row + 2
    ]
    return np.frombuffer(data, dtype=np.uint8)[first:stop]


def _cell(array: Array) -> pa.Array:
    """Return a column of one binary value that shares the array's memory."""
    # Large binary has offsets of 64 bits, which `_view` reads as they are.
    buffer = pa.py_buffer(np.ascontiguousarray(array))
    offsets = pa.py_buffer(np.array([0, buffer.size], dtype=np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, buffer])
