"""Tables of one number per sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class SampleValues:
    """A table of one integer per sample, read from its file by sample index.

    It is memory-mapped, so that a billion rows cost what is touched, once for all processes of a
    machine.
    """

    def __init__(self, path: Path) -> None:
        self.values = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return `[B]` int64, on the device of `index`."""
        values = self.values[index.cpu().numpy()].astype(np.int64)
        return torch.from_numpy(values).to(index.device)
