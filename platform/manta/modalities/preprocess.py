"""Base of the way from a sample to an encoder's input, which travels with an exported model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from manta.ragged import Data
from manta.spec import Spec


class Preprocess(nn.Module, ABC):
    """Way from what a stranger has, and from decoded rows, to what an encoder takes.

    Attributes:
        modality: name of the modality; in the description of an exported model.
        spec: of what it returns.
        signature: of `forward`: name of each input -> (dtype, shape), -1 for any length.
    """

    modality: ClassVar[str]
    spec: Spec
    signature: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]]

    @abstractmethod
    def forward(self, *raw: Tensor) -> Data:
        """Return the encoder's input for what a stranger has, as `signature` describes it."""

    @abstractmethod
    def ready(self, data: Mapping[str, Data]) -> Data:
        """Return the same for the leaves of decoded rows, on their device."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data."""
