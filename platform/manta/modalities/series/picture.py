"""Line plots of series, drawn with NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIDE = 64
"""Side of a plot in pixels."""
_COLOURS = (
    *((31, 119, 180), (214, 96, 77), (44, 140, 80), (148, 103, 189)),
    *((190, 120, 20), (23, 150, 170), (120, 120, 120), (200, 80, 150)),
)
_MARGIN = 3


def plot(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return a plot of `[T, C]` as `[64, 64, 3]` uint8 on white, one colour a channel.

    Channels share an axis from the smallest value to the largest; those after the eighth are left
    out.
    """
    pixels = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    shown = np.nan_to_num(np.asarray(values, dtype=np.float64)[:, : len(_COLOURS)])
    if shown.size == 0:
        return pixels
    low, high = shown.min(), shown.max()
    inner = SIDE - 1 - 2 * _MARGIN
    heights = np.full_like(shown, 0.5) if high == low else (shown - low) / (high - low)
    levels = _MARGIN + (1 - heights) * inner
    for channel in reversed(range(shown.shape[1])):  # the first lies on top
        _draw(pixels, levels[:, channel], _COLOURS[channel])
    return pixels


def _draw(
    pixels: npt.NDArray[np.uint8], levels: npt.NDArray[np.float64], colour: tuple[int, int, int]
) -> None:
    """Draw a line through levels, in pixels from above, over the whole width."""
    edges = np.linspace(0, len(levels) - 1, SIDE + 1)
    at_edges = np.interp(edges, np.arange(len(levels)), levels)
    for column in range(SIDE):
        first, last = int(np.ceil(edges[column])), int(np.floor(edges[column + 1]))
        inside = levels[first : last + 1]
        both = np.concatenate([at_edges[column : column + 2], inside])
        top, bottom = round(float(both.min())), round(float(both.max()))
        pixels[top : bottom + 1, column] = colour
