"""Sequences of numbers, one of its own length per sample."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manta.errors import DataError
from manta.files import Place
from manta.ragged import Ragged

VALUES, OFFSETS = "values.npy", "offsets.npy"
"""Files of a folder of sequences: all values end to end, and `[rows + 1]` int64 where rows begin;
the second is written last."""
NONE = -1
"""What stands in a window where its row has ended."""


class SampleSequences:
    """Sequences of integers, one per sample, read from their files by sample index.

    They are memory-mapped, as `SampleValues`.
    """

    def __init__(self, folder: Path) -> None:
        self.values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
        self.offsets = np.load(folder / OFFSETS, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, index: Tensor) -> Tensor:
        """Return `[B]` int64: how many values each sample has."""
        starts, stops = self._bounds(index)
        return torch.from_numpy(stops - starts).to(index.device)

    def __getitem__(self, index: Tensor) -> Ragged:
        """Return the samples' whole rows, int64, on the device of `index`."""
        starts, stops = self._bounds(index)
        lengths = stops - starts
        ends = np.cumsum(lengths)
        shift = np.repeat(starts - (ends - lengths), lengths)
        values = self.values[np.arange(lengths.sum()) + shift].astype(np.int64)
        rows = Ragged(torch.from_numpy(values), torch.from_numpy(lengths))
        return rows.to(index.device)

    def window(self, index: Tensor, start: Tensor, length: int) -> Tensor:
        """Return `[B, length]` int64 of each row from its `start`; `NONE` beyond the row's ends.

        Args:
            start: `[B]`, in values; fractions are cut off.
        """
        starts, stops = self._bounds(index)
        first = starts + np.floor(start.detach().cpu().numpy()).astype(np.int64)
        places = first[:, None] + np.arange(length)
        inside = (places >= starts[:, None]) & (places < stops[:, None])
        window = np.full(places.shape, NONE, dtype=np.int64)
        window[inside] = self.values[places[inside]]
        return torch.from_numpy(window).to(index.device)

    def _bounds(self, index: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rows = index.cpu().numpy()
        return self.offsets[rows], self.offsets[rows + 1]


def write_sequences(
    folder: Place,
    lengths: npt.NDArray[np.int64],
    blocks: Iterable[npt.NDArray[np.integer]],
    kind: npt.DTypeLike,
) -> None:
    """Write the files of `SampleSequences`, block after block, on disk rather than in memory.

    Args:
        lengths: `[rows]`, how many values each row has.
        blocks: the values of all rows in their order, cut anywhere.
        kind: of integers, in which they are kept.

    Raises:
        DataError: the blocks hold fewer or more values than the lengths say.
    """
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    total, done = int(offsets[-1]), 0
    folder.make()
    folder.sweep()
    with (folder / VALUES).writing() as file:
        np.lib.format.write_array_header_1_0(
            file,
            {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (total,)},
        )
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=kind).tobytes())
            done += len(block)
        if done != total:
            raise DataError(f"{folder.url}: {done:,} values of rows whose lengths say {total:,}")
    with (folder / OFFSETS).writing() as file:
        np.save(file, offsets, allow_pickle=False)
