"""Windows of rows, stretched to a length by linear interpolation."""

from __future__ import annotations

import torch
from torch import Tensor


def cut(
    rows: Tensor, starts: Tensor, widths: Tensor, length: int, order: Tensor | None = None
) -> Tensor:
    """Return a window of each row, `[B, length, C]`.

    A window of another width is interpolated at the centres of `length` equal parts, as torch's
    `interpolate` does without `align_corners`.

    Args:
        rows: `[B, T, C]`.
        starts, widths: `[B]` whole numbers, the window of each row.
        order: `[B, length]` places of the window in the order in which they are taken; None: as
            they are.
    """
    if order is None:
        order = torch.arange(length, device=rows.device).expand(len(rows), length)
    width = widths.unsqueeze(1).double()
    places = ((order.double() + 0.5) * width / length - 0.5).clamp_(min=0)
    places = places.minimum(width - 1)
    below = places.floor()
    above = (below + 1).minimum(width - 1)
    share = (places - below).to(rows.dtype).unsqueeze(2)
    first = starts.unsqueeze(1)
    return torch.lerp(_taken(rows, first + below.long()), _taken(rows, first + above.long()), share)


def taken(rows: Tensor, starts: Tensor, order: Tensor) -> Tensor:
    """Return values of each row, `[B, n, C]`, at `order: [B, n]` after its start."""
    last = rows.shape[1] - 1
    return _taken(rows, (starts.unsqueeze(1) + order).clamp(max=last))


def _taken(rows: Tensor, places: Tensor) -> Tensor:
    return rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))
