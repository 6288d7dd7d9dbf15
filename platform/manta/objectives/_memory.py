"""State that outlives a step: queues of past embeddings, and values kept for every sample.

Both are the same on every rank: what enters them is gathered first (`Communicator.gather`), in the
order of the global batch, so that no broadcast is needed and the number of ranks changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.errors import ConfigError

ROWS_AT_ONCE = 1 << 20
"""Rows of a table read at a time, so that only its written rows are ever in memory together."""


class Queue(nn.Module):
    """A ring buffer of the newest `size` rows that were pushed, of `width` numbers each.

    It starts with random unit vectors, as MoCo's does; `filled` is the number of real rows.
    """

    rows: Tensor
    place: Tensor
    filled: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def push(self, rows: Tensor) -> Tensor:
        """Replace the oldest rows by `[B, width]` new ones, of which the last `size` are taken.

        Returns:
            The places that were written, `[min(B, size)]`, for what is kept beside the queue.
        """
        new = rows[-len(self) :].to(self.rows.dtype)
        places = (self.place + torch.arange(len(new), device=self.place.device)) % len(self)
        self.rows[places] = new
        self.place.copy_((self.place + len(new)) % len(self))
        self.filled.copy_((self.filled + len(new)).clamp_max(len(self)))
        return places


class SampleTable(nn.Module):
    """A table of `width` numbers for every sample, in a memory-mapped file that may be paged out.

    Every rank has a file of its own in its machine's temporary folder: for a hundred million
    samples 400 MB of disk a rank for each number of `width` once all rows are written, and 100 MB
    of memory for the marks of written rows. A checkpoint holds the written rows and a bit for each
    row. While it is taken and saved these rows are in rank 0's memory twice, whatever the table's
    size: 10 million of 128 numbers (5 GB) need 10 GB, a hundred million 100 GB. The table lives on
    the CPU whatever the device of the objective, and in the checkpoint as extra state.

    Args:
        rows: of the dataset; a sample's row is its index.
        initial: value of a sample never written, one number or one per column.

    Raises:
        ConfigError: a file of that size cannot be created.
    """

    def __init__(self, rows: int, width: int, *, initial: float | list[float] = 0.0) -> None:
        super().__init__()
        # Open as long as the table exists.
        self._file = tempfile.NamedTemporaryFile(prefix="manta-samples-")  # noqa: SIM115
        try:
            self._file.truncate(4 * rows * width)
            values = torch.from_file(
                self._file.name, shared=True, size=rows * width, dtype=torch.float32
            )
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"{rows} samples of {width} numbers are a file that {tempfile.gettempdir()} "
                "cannot hold; set TMPDIR to a larger disk, or train on fewer samples "
                "or with a narrower projector"
            ) from error
        self._values = values.view(rows, width)
        # NumPy's zeros take no memory until they are written; torch's do.
        self._written = torch.from_numpy(np.zeros(rows, dtype=bool))
        self._initial = torch.as_tensor(initial, dtype=torch.float32).expand(width)

    def __len__(self) -> int:
        return len(self._values)

    def read(self, index: Tensor) -> Tensor:
        """Return `[B, width]` float32 of samples `[B]` int64, on the device of `index`."""
        # The file holds deviations from `initial`, so that untouched pages stay holes.
        values = self._values[index.cpu()] + self._initial
        return values.to(index.device)

    @torch.no_grad()
    def write(self, index: Tensor, values: Tensor) -> None:
        """Store `[B, width]` for samples `[B]`.

        Every rank must write the same, so gather both first.
        """
        index = index.cpu()
        self._values[index] = values.detach().float().cpu() - self._initial
        self._written[index] = True

    def get_extra_state(self) -> dict[str, Any]:
        """Return a copy of the written rows, in order, and the bits that mark them."""
        values = self._values.new_empty(int(self._written.sum()), self._values.shape[1])
        start = 0
        for rows, written in self._parts():
            part = rows[written]
            values[start : start + len(part)] = part
            start += len(part)
        bits = torch.from_numpy(np.packbits(self._written.numpy()))
        return {"shape": list(self._values.shape), "written": bits, "values": values}

    @torch.no_grad()
    def set_extra_state(self, state: Any) -> None:
        """Restore the rows that were written; reset all others to the initial value."""
        if state["shape"] != list(self._values.shape):
            raise RuntimeError(
                f"a table of {state['shape']} values does not fit {list(self._values.shape)}"
            )
        for rows, written in self._parts():
            rows[written] = 0
        marks = np.unpackbits(state["written"].numpy(), count=len(self))
        self._written.copy_(torch.from_numpy(marks))
        start = 0
        for rows, written in self._parts():
            count = int(written.sum())
            rows[written] = state["values"][start : start + count]
            start += count

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield views of rows and of their marks, for the parts in which any row was written.

        Parts without written rows are skipped, so that the file keeps its holes.
        """
        parts = (torch.split(table, ROWS_AT_ONCE) for table in (self._values, self._written))
        for rows, written in zip(*parts, strict=True):
            if written.any():
                yield rows, written

    def __deepcopy__(self, memo: dict[int, Any]) -> SampleTable:
        twin = SampleTable(*self._values.shape, initial=self._initial.tolist())
        twin.set_extra_state(self.get_extra_state())
        return twin
