"""Base of the way from a sample to an encoder's input, which travels with an exported model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from manta.batch import ViewNeeds
from manta.modalities._decoder import Decoder
from manta.ragged import Data, Leaves, Ragged
from manta.spec import Spec
from manta.views import ViewPipeline


class Signature(NamedTuple):
    """What a stranger gives to an exported model: one tensor.

    Attributes:
        name: of the input.
        dtype: NumPy's name of its type.
        shape: -1 where any length will do; the first axis counts samples.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


class Reader(NamedTuple):
    """What reads a stranger's samples for an exported graph, where it takes more than tensors.

    Attributes:
        code: a Python file with MLflow's `_load_pyfunc`, which imports nothing of Manta.
        files: what the code finds beside the graph, by name.
        packages: names in package indexes of what it imports.
        taken: MLflow's name of what it is given, such as "string"; None: tensors as the graph.
        examples: of these.
        settings: whole numbers that may be given with the samples, and their defaults.
    """

    code: Path
    files: Mapping[str, str]
    packages: tuple[str, ...]
    taken: str | None = None
    examples: tuple[Any, ...] = ()
    settings: Mapping[str, int] = {}


class Preprocess(nn.Module, ABC):
    """Way from what a stranger has, and from decoded rows, to what an encoder takes.

    Attributes:
        modality: name of the modality; in the description of an exported model.
        spec: of what it returns.
        signature: of the tensor that `forward` takes.
        rate: units of a row's axis in a second, as `Modality.rate`; None where none is known.
    """

    modality: ClassVar[str]
    spec: Spec
    signature: Signature
    rate: int | None = None

    @abstractmethod
    def forward(self, raw: Tensor) -> Data:
        """Return the encoder's input for what a stranger has, as `signature` describes it."""

    @abstractmethod
    def ready(self, data: Leaves) -> Data:
        """Return the same for the leaves of decoded rows, on their device."""

    def whole(self, data: Leaves) -> Ragged | None:
        """Return whole decoded rows, for encoders of any length; None where there is no such way.

        `ready` may cut them.
        """
        return None

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return the decoder of bytes into the leaves that `ready` takes."""

    @abstractmethod
    def views(self, needs: ViewNeeds) -> ViewPipeline[Any]:
        """Return the pipeline of SimCLR's views whose output the encoder takes."""

    @abstractmethod
    def examples(self) -> list[Tensor]:
        """Return real inputs of `forward`, of several sizes, on which an export is tested."""

    @abstractmethod
    def traced(self) -> Tensor:
        """Return an input of `forward` to trace: two samples, no two sides alike."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data."""

    def reader(self) -> Reader | None:
        """Return what reads samples for a graph; None where `signature` tells all."""
        return None
