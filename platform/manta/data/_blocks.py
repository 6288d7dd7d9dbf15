"""Packing of decoded images for travel: one part of a batch is one row of a Ray Data block, its
pixels one buffer.

A row is never split by Ray Data, and its buffer is read out of the object store without a copy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manta.data.arrays import Images, RowIndexes


def pack(
    number: int, indexes: RowIndexes, images: Images, labels: RowIndexes | None = None
) -> pa.Table:
    """Return a table of one row; `number` says what the part belongs to."""
    columns = {"number": pa.array([number]), "index": _cell(indexes), "images": _cell(images)}
    if labels is not None:
        columns["labels"] = _cell(labels)
    return pa.table(columns)


def unpack(block: pa.Table, row: int, size: int) -> tuple[int, RowIndexes, Images]:
    """Return `(number, indexes, [N, 3, size, size])`, read-only views of the block."""
    indexes = _view(block, "index", row).view(np.int64)
    images = _view(block, "images", row).reshape(len(indexes), 3, size, size)
    return block["number"][row].as_py(), indexes, images


def unpack_labels(block: pa.Table, row: int) -> RowIndexes | None:
    if "labels" not in block.column_names:
        return None
    return _view(block, "labels", row).view(np.int64)


def _view(block: pa.Table, column: str, row: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of a cell where they lie; Arrow's scalars hold a copy."""
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


def _cell(array: RowIndexes | Images) -> pa.Array:
    """Return a column of one binary value over the array's own memory."""
    buffer = pa.py_buffer(np.ascontiguousarray(array))
    offsets = pa.py_buffer(np.array([0, buffer.size], dtype=np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, buffer])
