"""Decoded rows in a Ray Data block: what goes in comes out, where it lies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from manta.data import _blocks
from manta.leaves import Leaf

LAYOUT = {"image": Leaf("uint8", (3, 8, 8))}


def part(number: int, rows: int, seed: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    indexes = draw.integers(0, 10**12, rows)
    images = draw.integers(0, 256, (rows, 3, 8, 8), dtype=np.uint8)
    return _blocks.pack(number, indexes, {"image": images}, indexes % 7), indexes, images


def test_parts_come_back_from_joined_and_sliced_blocks() -> None:
    parts = [part(number, 4 + number, number) for number in range(4)]
    for block, shift in (
        (pa.concat_tables([table for table, _, _ in parts]), 0),
        (pa.concat_tables([table for table, _, _ in parts]).combine_chunks(), 0),
        (pa.concat_tables([table for table, _, _ in parts]).slice(1), 1),
    ):
        for row in range(block.num_rows):
            number, indexes, data = _blocks.unpack(block, row, LAYOUT)
            _, expected, pixels = parts[row + shift]
            assert number == row + shift
            assert np.array_equal(indexes, expected)
            assert np.array_equal(data["image"], pixels)
            assert np.array_equal(_blocks.unpack_labels(block, row), expected % 7)


def test_pixels_are_not_copied_out_of_the_block() -> None:
    block = pa.concat_tables([part(0, 5, 0)[0], part(1, 6, 1)[0]])
    _, _, data = _blocks.unpack(block, 1, LAYOUT)
    buffer = block["leaf:image"].chunk(1).buffers()[2]
    assert buffer.address <= data["image"].ctypes.data < buffer.address + buffer.size
