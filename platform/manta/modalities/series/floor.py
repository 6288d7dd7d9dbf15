"""The values themselves, the floor of series."""

from __future__ import annotations

from typing import ClassVar, cast

import torch.nn.functional as F
from torch import Tensor

from manta.modalities import Floor
from manta.modalities.series.decoder import LEAF, Normalise
from manta.modalities.series.stretch import cut
from manta.ragged import Leaves, Ragged

MOST = 4096
"""Values of a row, all channels together, that are kept."""


class RawValues(Floor):
    """Values of a row, stretched to one length, `[B, length * channels]`.

    Args:
        length: of the longest row, or the one that all have.
        channels: of every row.
        normalise: how rows are decoded; values as they come are scaled by the bank.
    """

    title: ClassVar[str] = "raw values"

    def __init__(self, length: int, channels: int, normalise: Normalise) -> None:
        self._length = max(min(length, MOST // channels), 1)
        self._is_scaled = normalise != "none"

    def __call__(self, data: Leaves) -> Tensor:
        rows = cast("Tensor | Ragged", data[LEAF])
        if isinstance(rows, Tensor):
            values = F.interpolate(rows.float().transpose(1, 2), self._length, mode="linear")
            return values.flatten(1)
        padded, _ = rows.padded()
        starts = rows.lengths.new_zeros(len(rows))
        return cut(padded, starts, rows.lengths, self._length).transpose(1, 2).flatten(1)

    def fitted(self, bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        return (bank, queries) if self._is_scaled else super().fitted(bank, queries)
