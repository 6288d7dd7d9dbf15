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
STEP = "step.npy"
"""File with the distance of two values on their row's axis, where they have one."""
NONE = -1
"""What stands in a window where its row has ended."""


class SampleSequences:
    """Sequences of integers, one per sample, read from their files by sample index.

    They are memory-mapped, as `SampleValues`.

    Attributes:
        step: from where a value belongs in its row to where the next one does, in units of the
            row's axis, as `View.box` is; the first belongs to its begin. None: values have no
            places.
    """

    def __init__(self, folder: Path) -> None:
        self.values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
        self.offsets = np.load(folder / OFFSETS, mmap_mode="r", allow_pickle=False)
        step = folder / STEP
        self.step = float(np.load(step, allow_pickle=False)) if step.exists() else None

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
        return self.at(index, start.floor().unsqueeze(1) + torch.arange(length).to(start.device))

    def at(self, index: Tensor, numbers: Tensor) -> Tensor:
        """Return `[B, T]` int64, each row's values of some numbers; `NONE` beyond the row's ends.

        Args:
            numbers: `[B, T]`, from 0 for a row's first value; fractions are cut off.
        """
        starts, stops = self._bounds(index)
        counted = np.floor(numbers.detach().cpu().numpy()).astype(np.int64)
        places = starts[:, None] + counted
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
    *,
    step: float | None = None,
) -> None:
    """Write the files of `SampleSequences`, block after block, on disk rather than in memory.

    Args:
        lengths: `[rows]`, how many values each row has.
        blocks: the values of all rows in their order, cut anywhere.
        kind: of integers, in which they are kept.
        step: as `SampleSequences.step`.

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
    if step is not None:
        with (folder / STEP).writing() as file:
            np.save(file, np.float64(step), allow_pickle=False)
    with (folder / OFFSETS).writing() as file:
        np.save(file, offsets, allow_pickle=False)
