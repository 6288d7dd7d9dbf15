"""Array types that the data modules pass to one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from manta.leaves import Array, Columns, Packed

if TYPE_CHECKING:
    from torch import Tensor

    from manta.ragged import Data

RowIndexes = npt.NDArray[np.int64]
"""`[N]` row numbers of a dataset."""


def as_tensor(array: Array) -> Tensor:
    """Return a tensor that shares the array's memory."""
    # Decode tasks import this module; without torch they start 2 s sooner and hold 200 MB less.
    import torch

    return torch.from_numpy(array)


def as_tensors(columns: Columns) -> dict[str, Data]:
    """Return tensors and ragged rows by name, which share the columns' memory."""
    from manta.ragged import Ragged

    return {
        name: Ragged(as_tensor(column.values), as_tensor(column.lengths))
        if isinstance(column, Packed)
        else as_tensor(column)
        for name, column in columns.items()
    }
