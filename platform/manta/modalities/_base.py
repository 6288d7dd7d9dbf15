"""The contract of a modality: what a sample is, from bytes to an encoder's input and to a picture.

Decode tasks import this module and a modality's `decode`; neither may import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from manta.errors import DataError
from manta.leaves import Array, Columns, Layout
from manta.registry import Registry

if TYPE_CHECKING:
    from pydantic import BaseModel

    from manta.batch import ViewNeeds
    from manta.modalities.preprocess import Preprocess
    from manta.spec import Spec
    from manta.views import ViewPipeline


class BadSample(DataError):
    """A sample that cannot be used; the message is only the reason, in a few words."""


class NoReader(BadSample):
    """A sample that could be read with a library that is not installed here."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers of one row in one epoch, the same whoever decodes it and however often.

    Attributes:
        seed: of the run.
        epoch: in which the row is decoded.
        index: of the row.
    """

    seed: int
    epoch: int
    index: int

    def uniform(self, count: int = 1) -> npt.NDArray[np.float64]:
        """Return `[count]` numbers in [0, 1)."""
        words = np.random.SeedSequence([self.seed, self.epoch, self.index])
        return np.random.Generator(np.random.Philox(words)).random(count)

    def below(self, count: int) -> int:
        """Return a whole number of 0 to `count - 1`."""
        return min(int(self.uniform()[0] * count), count - 1)


class Decoder(Protocol):
    """Decoder of a row's bytes into its leaves; plain data that can be pickled.

    Attributes:
        layout: of the leaves.
        draws: what it returns depends on `draw`, so that a decoded row cannot be kept for another
            epoch.
    """

    @property
    def layout(self) -> Layout: ...

    @property
    def draws(self) -> bool: ...

    def __call__(self, data: bytes, draw: Draw | None) -> Mapping[str, Array]:
        """Return the leaves of a row.

        Args:
            draw: random numbers of the row in this epoch; None, for an evaluation: take the part
                that stands for the whole, such as the middle.

        Raises:
            BadSample: the bytes cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Something to look at for a row.

    Attributes:
        pixels: uint8 `[64, 64, 3]`.
        caption: what stands below it; empty for none.
    """

    pixels: Array
    caption: str = ""


Stats = Mapping[str, Any]
"""What an ingest measured of a dataset, as plain data: see the modality's inspector."""
D = TypeVar("D", bound="BaseModel")
V = TypeVar("V", bound="BaseModel")


class Modality(ABC, Generic[D, V]):
    """What a sample is: how it is decoded, looked at by an objective, given to an encoder, shown.

    A subclass is registered by `@MODALITIES.register(name)`.

    Args:
        data: the section `data` of an experiment, an instance of `Data`.
        stats: of the dataset; empty where there is none yet.

    Attributes:
        Data: model of the section `data`.
        noun: what bars and pages count, in the plural: "images", "clips".
        suffixes: of its files, with the dot, in lower case.
        columns: names by which a table's column of samples is recognised.
        searchable: settings of `data` that a search space may have.
    """

    Data: ClassVar[type[BaseModel]]
    noun: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    searchable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: D, stats: Stats) -> None:
        self.data = data
        self.stats = stats

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What an encoder is given."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return the decoder of rows into the leaves that views and `preprocess` take."""

    @abstractmethod
    def views(self, config: V, needs: ViewNeeds) -> ViewPipeline:
        """Return the pipeline from decoded rows to the views of an objective."""

    @abstractmethod
    def preprocess(self, config: V) -> Preprocess:
        """Return the way from decoded rows, and from what a stranger has, to an encoder's input."""

    @abstractmethod
    def picture(self, row: Columns) -> Picture:
        """Return something to look at for a decoded row: columns of one row."""


MODALITIES: Registry[type[Modality[Any, Any]]] = Registry("modalities", "manta.modalities")
