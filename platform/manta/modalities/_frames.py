"""Frames of a raw signal, by which hidden units are first told apart; free of torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from manta.leaves import Columns
from manta.modalities._decoder import Decoder


class SignalFrames(Protocol):
    """Way from decoded rows to frames of their signal; plain data that can be pickled.

    Attributes:
        decoder: of the rows, which takes whole ones.
        step: from the begin of a frame to that of the next, in units of the row's axis, in which
            `View.box` is too.
    """

    @property
    def decoder(self) -> Decoder: ...

    @property
    def step(self) -> float: ...

    def __call__(self, rows: Columns) -> list[npt.NDArray[np.float32]]:
        """Return `[frames, D]` of each of the rows, the first frame from its begin on."""
        ...
