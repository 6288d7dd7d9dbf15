"""Sequences of numbers by sample: looked up by index, cut into windows, written block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manta.errors import DataError
from manta.files import Place
from manta.materials import SampleSequences, write_sequences

ROWS = [[5, 6, 7], [], [9], [1, 2, 3, 4]]


def written(folder: Path, rows: list[list[int]], *, block: int = 2) -> SampleSequences:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    blocks = (values[start : start + block] for start in range(0, len(values), block))
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    write_sequences(Place.of(folder), lengths, blocks, np.uint16)
    return SampleSequences(folder)


def test_rows_are_found_by_sample_in_any_order(tmp_path: Path) -> None:
    sequences = written(tmp_path / "s", ROWS)
    index = torch.tensor([3, 1, 0, 3])
    rows = sequences[index]
    assert len(sequences) == 4
    assert sequences.lengths(index).tolist() == rows.lengths.tolist() == [4, 0, 3, 4]
    assert rows.values.tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4]
    assert rows.values.dtype == torch.int64


def test_they_stay_on_disk_in_the_type_that_was_asked_for(tmp_path: Path) -> None:
    sequences = written(tmp_path / "s", ROWS)
    assert isinstance(sequences.values, np.memmap)
    assert isinstance(sequences.offsets, np.memmap)
    assert sequences.values.dtype == np.uint16
    assert np.load(tmp_path / "s/values.npy").tolist() == [5, 6, 7, 9, 1, 2, 3, 4]


def test_a_window_ends_where_its_row_does(tmp_path: Path) -> None:
    sequences = written(tmp_path / "s", ROWS)
    window = sequences.window(torch.tensor([0, 3, 1, 2, 0]), torch.tensor([1, 1.9, 0, 5, -1]), 3)
    assert window.tolist() == [[6, 7, -1], [2, 3, 4], [-1] * 3, [-1] * 3, [-1, 5, 6]]
    assert window.dtype == torch.int64


def test_no_values_at_all_are_a_table_too(tmp_path: Path) -> None:
    sequences = written(tmp_path / "s", [[], []])
    index = torch.tensor([1, 0])
    assert len(sequences[index].values) == 0
    assert sequences.window(index, torch.zeros(2), 2).tolist() == [[-1, -1], [-1, -1]]


def test_lengths_that_the_values_do_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 values of rows whose lengths say 3$"):
        write_sequences(Place.of(tmp_path / "s"), np.array([1, 2]), [np.arange(2)], np.uint8)
    assert list((tmp_path / "s").iterdir()) == [], "no half of them"
