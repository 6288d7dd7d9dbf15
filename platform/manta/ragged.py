"""Batches of rows with lengths of their own, in torch; and operations on any kind of batch data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from manta.leaves import Columns, Layout, Leaf, Packed


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of unequal lengths, end to end.

    Attributes:
        values: `[sum of lengths, ...]`.
        lengths: `[B]` int64, on the device of the values.
    """

    values: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        return self.values.device

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        """Return the same rows on a device."""
        return Ragged(
            self.values.to(device, non_blocking=non_blocking),
            self.lengths.to(device, non_blocking=non_blocking),
        )

    def rows(self, which: slice | Tensor) -> Ragged:
        """Return some of the rows, in the order of `which`."""
        stops = self.lengths.cumsum(0)
        starts, lengths = (stops - self.lengths)[which], self.lengths[which]
        ends = lengths.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        shift = torch.repeat_interleave(starts - (ends - lengths), lengths, output_size=total)
        places = torch.arange(total, device=self.device) + shift
        return Ragged(self.values[places], lengths)

    def padded(self, fill: float = 0.0, *, least: int = 1) -> tuple[Tensor, Tensor]:
        """Return `([B, L, ...], [B, L] bool)`: the rows, and where they have values.

        Args:
            fill: what stands where a row has ended.
            least: smallest L, which is else the longest row's.
        """
        longest = max(int(self.lengths.max()) if len(self) else 0, least)
        there = torch.arange(longest, device=self.device) < self.lengths.unsqueeze(1)
        out = self.values.new_full((len(self), longest, *self.values.shape[1:]), fill)
        out[there] = self.values
        return out, there


LONGEST_SAMPLED = 1 << 15
"""Longest random row that `sampled` gives."""
Data: TypeAlias = Tensor | Ragged | Mapping[str, "Data"]
"""What an encoder takes of B samples: a tensor, ragged rows, or several of them by name."""
Leaves: TypeAlias = Mapping[str, Data]
"""Decoded rows: their leaves by name."""
D = TypeVar("D", bound=Any)


def dense(data: Mapping[str, Data], name: str) -> Tensor:
    """Return the leaf of a name, which is a tensor.

    Raises:
        TypeError: it is ragged.
    """
    leaf = data[name]
    if not isinstance(leaf, Tensor):
        raise TypeError(f"{name} has rows of unequal lengths, and a tensor is needed")
    return leaf


def count_rows(data: Data) -> int:
    """Return B."""
    return len(data) if not isinstance(data, Mapping) else count_rows(next(iter(data.values())))


def device_of(data: Data) -> torch.device:
    """Return the device that the data are on."""
    return data.device if not isinstance(data, Mapping) else device_of(next(iter(data.values())))


def moved(data: D, device: torch.device | str) -> D:
    """Return data on a device; from pinned memory without waiting for the copy."""
    if isinstance(data, Mapping):
        return cast(D, {name: moved(leaf, device) for name, leaf in data.items()})
    return cast(D, data.to(device, non_blocking=True))


def rows_of(data: D, which: slice | Tensor) -> D:
    """Return some of the samples, in the order of `which`."""
    if isinstance(data, Mapping):
        return cast(D, {name: rows_of(leaf, which) for name, leaf in data.items()})
    return cast(D, data.rows(which) if isinstance(data, Ragged) else data[which])


def joined(parts: Sequence[D]) -> D:
    """Return the samples of all parts, one after the other.

    Parts are alike: tensors of one shape but for the first axis, ragged rows, or mappings of these.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return cast(D, torch.cat(list(parts)))
    if isinstance(first, Ragged):
        values = torch.cat([part.values for part in parts])
        return cast(D, Ragged(values, torch.cat([part.lengths for part in parts])))
    return cast(D, {name: joined([part[name] for part in parts]) for name in first})


def sampled(layout: Layout, rows: int, generator: torch.Generator) -> dict[str, Data]:
    """Return random rows of a layout: bytes of all values, else standard normal numbers.

    Ragged ones differ in length.
    """

    def filled(leaf: Leaf, *first: int) -> Tensor:
        shape, dtype = (*first, *leaf.inner), getattr(torch, leaf.dtype)
        if dtype == torch.uint8:
            return torch.randint(256, shape, dtype=dtype, generator=generator)
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype)
        return torch.randn(shape, dtype=dtype, generator=generator)

    data: dict[str, Data] = {}
    for name, leaf in layout.items():
        if not leaf.ragged:
            data[name] = filled(leaf, rows)
            continue
        longest = min(leaf.most or 1, LONGEST_SAMPLED)
        lengths = torch.tensor([max(longest - row % 2, 1) for row in range(rows)])
        data[name] = Ragged(filled(leaf, int(lengths.sum())), lengths)
    return data


def as_columns(data: Leaves) -> Columns:
    """Return the NumPy twin of decoded rows, which shares the memory of rows on the CPU."""
    columns: Columns = {}
    for name, leaf in data.items():
        if isinstance(leaf, Ragged):
            columns[name] = Packed(leaf.values.cpu().numpy(), leaf.lengths.cpu().numpy())
        elif isinstance(leaf, Tensor):
            columns[name] = leaf.cpu().numpy()
    return columns
