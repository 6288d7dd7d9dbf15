"""Features that nothing has learned: the floor that an encoder's have to beat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # decode tasks import this module, and do without torch
    from torch import Tensor

    from manta.ragged import Leaves

_CONSTANT = 1e-6
"""Deviation up to which a feature counts as constant."""


class Floor(ABC):
    """Features of decoded rows that nothing has learned, such as colour histograms.

    Attributes:
        title: what they are, in the plural.
    """

    title: ClassVar[str]

    @abstractmethod
    def __call__(self, data: Leaves) -> Tensor:
        """Return `[B, D]` float32 of decoded rows, whose leaves are on the CPU.

        D is the same for every batch, and a row's features do not depend on the others'.
        """

    def fitted(self, bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return `[M, D]` and `[Q, D]` scaled by the bank, which is all that may be fitted.

        Of itself to mean 0 and deviation 1 of each feature. Labels are never seen.
        """
        mean, deviation = bank.mean(0), bank.std(0, correction=0)
        deviation = deviation.masked_fill(deviation <= _CONSTANT, 1.0)
        return (bank - mean) / deviation, (queries - mean) / deviation
