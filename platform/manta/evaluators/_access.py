"""What an evaluator of the encoder itself is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluators._labels import RowReader
from manta.leaves import Column, Packed, Stack
from manta.modalities import Decoder
from manta.ragged import Data, Leaves, Ragged, moved


@dataclass(frozen=True, slots=True)
class EncoderAccess:
    """An encoder itself, and the rows to try it on.

    Attributes:
        encoder: in evaluation mode, on `device`. Whoever trains or changes it does so to a copy.
        prepare: decoded rows on `device` -> the encoder's input.
        size: side of decoded images in pixels; 0 where samples are no images.
        rows: reads them.
        modality: of the samples.
        decoder: of the samples' bytes, for evaluators that bring data of their own; None where
            whoever made this has none.
    """

    encoder: Encoder
    prepare: Callable[[Leaves], Data]
    size: int
    device: torch.device
    rows: RowReader
    modality: str = "image"
    decoder: Decoder | None = None

    def decoded(self, data: Sequence[bytes]) -> Leaves:
        """Return decoded rows of samples' bytes, as `prepared` and `embed` take them.

        Raises:
            BadSample: one cannot be decoded.
            ConfigError: there is no decoder.
        """
        if self.decoder is None:
            raise ConfigError("samples of another place cannot be decoded here; give a decoder")
        stack = Stack(self.decoder.layout, len(data))
        for one in data:
            stack.add(self.decoder(one, None))
        return {name: _as_data(column) for name, column in stack.columns().items()}

    def prepared(self, data: Leaves) -> Data:
        """Return the encoder's input for decoded rows on any device."""
        return self.prepare(moved(data, self.device))

    def embed(self, data: Leaves) -> Tensor:
        """Return `[B, D]` float32 on `device` for decoded rows, without gradients."""
        with torch.no_grad():
            return self.encoder.embed(self.prepared(data)).float()

    def prepared_images(self, images: Tensor) -> Tensor:
        """Return the encoder's input for uint8 `[B, 3, S, S]` on any device."""
        return cast(Tensor, self.prepared({"image": images}))


def _as_data(column: Column) -> Data:
    if isinstance(column, Packed):
        return Ragged(torch.from_numpy(column.values), torch.from_numpy(column.lengths))
    return torch.from_numpy(column)
