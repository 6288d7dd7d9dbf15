"""Colour histograms, the floor of images."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from manta.modalities import Floor
from manta.ragged import Leaves, dense

_BITS = 3
"""Of each channel: 8 levels of red by 8 of green by 8 of blue."""


class ColourHistogram(Floor):
    """Shares of an image's pixels by colour, `[B, 512]`.

    Roots of the shares, so that the cosine of two images is how far their histograms overlap.
    """

    title: ClassVar[str] = "colour histograms"

    def __call__(self, data: Leaves) -> Tensor:
        levels = (dense(data, "image") >> (8 - _BITS)).long()
        red, green, blue = levels.unbind(1)
        colours = ((red << 2 * _BITS) + (green << _BITS) + blue).flatten(1)
        counts = torch.zeros(len(colours), 1 << 3 * _BITS)
        counts.scatter_add_(1, colours, torch.ones(colours.shape))
        return (counts / colours.shape[1]).sqrt()

    def fitted(self, bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares of the colours that there are: grey images have 8 of 512."""
        present = (bank.amax(0) > 0) | (queries.amax(0) > 0)
        return bank[:, present], queries[:, present]
