"""The contract of a material, and what the workshop offers in which it is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from manta.files import Place
from manta.leaves import Columns
from manta.modalities import Decoder, Modality
from manta.registry import Registry

# `manta.data` would be imported with its engine.
RowIndexes = npt.NDArray[np.int64]
"""`[N]` row numbers of the dataset."""
Vectors = tuple[RowIndexes, npt.NDArray[np.float32]]
"""Row numbers `[N]`, and their embeddings `[N, D]`."""
Column = tuple[RowIndexes, npt.NDArray[np.int64]]
"""Row numbers `[N]`, and their values `[N]`, -1 where there is none."""
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
PartWork = Callable[[Iterator[Vectors], Any], Result]
"""Work on the embeddings of one part: a function of its row groups, and of a shared value."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a material is written.

    Attributes:
        name: of the material, as the objective calls it.
        place: the file, or the folder, that it becomes.
    """

    name: str
    place: Place

    @contextmanager
    def table(self, kind: type[np.integer[Any]], rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield a table `[rows]` to fill, on disk rather than in memory.

        It appears in its place when the block ends without an error.
        """
        self.place.parent.make()
        self.place.parent.sweep()
        with self.place.writing() as file:
            table = np.lib.format.open_memmap(file.name, mode="w+", dtype=kind, shape=(rows,))
            yield table
            table.flush()


class RowReader(Protocol):
    """Reader of the dataset's rows, in a task of `Workshop.over_rows`.

    Attributes:
        device: that the task may use, as torch names it.
    """

    device: str

    def encoded(self, rows: RowIndexes) -> list[bytes]:
        """Return the bytes of rows, as they were ingested."""

    def decoded(self, rows: RowIndexes, decoder: Decoder) -> Columns:
        """Return the leaves of decoded rows: of an `ImageDecoder`, `image` `[N, 3, s, s]`."""


class RowWork(Protocol[Result_co]):
    """Work on rows: plain data that can be pickled, and what a task makes of it."""

    def open(self, data: RowReader) -> Callable[[RowIndexes], Result_co]:
        """Return the function of a chunk of rows; called once in each process."""


class Workshop(Protocol):
    """What the driver offers to a material that is being made.

    Attributes:
        rows: of the dataset.
        modality: what its rows are to the run.
    """

    rows: int

    @property
    def modality(self) -> Modality[Any]: ...

    def notify(self, message: str) -> None:
        """Tell the user something, on one line."""

    def column(self, name: str) -> Iterator[Column]:
        """Return a column's values in blocks, in the order of rows.

        Raises:
            ConfigError: the dataset has no such column.
        """

    def keep_model(self, model: str, target: Place) -> None:
        """Copy the saved encoder that `model` names into a folder; its description last."""

    def features(
        self, model: str | None, *, layer: str | None = None, seed: int = 0, purpose: str
    ) -> str:
        """Embed every row by a Ray Data job; return the folder of the parts.

        It continues where an earlier attempt stopped, with the model that this one took.

        Args:
            model: any name of a model; None: an autoencoder, trained on the data for this.
            layer: whose pooled output is taken; None: the pooled embedding.
            seed: of the autoencoder.
            purpose: what the features are for, in words for the user.
        """

    def over_parts(
        self, features: str, work: PartWork[Result], value: Any
    ) -> Iterator[tuple[int, Result]]:
        """Yield `(number, work(rows of the part, value))` of each part as its Ray task ends."""

    def over_rows(
        self,
        work: RowWork[Result],
        rows: RowIndexes,
        *,
        chunk: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[tuple[int, Result]]:
        """Yield `(number, result)` of each chunk of rows as its Ray Data task ends.

        Chunks are the same whatever the number of tasks: number `i` has the rows from `i * chunk`.

        Args:
            done: numbers of chunks to leave out.
        """

    def layer_frames(self, model: str, layer: str | None) -> Any:
        """Return a `FrameReader` of a layer of the encoder that `model` names."""

    def scratch(self, identity: str) -> Place:
        """Return a folder that is kept until the material is complete, also over restarts.

        Args:
            identity: of what will be in it; a folder of another identity is emptied.
        """


class Material(ABC):
    """An input of a method, as plain data: how it is made, and what it looks like on disk.

    A subclass is a frozen dataclass (or a pydantic model): runs and trials whose materials have the
    same `repr` share what was made.

    Attributes:
        last: of a material that is a folder, the file in it that is written last; None: it is one
            table, in a file.
    """

    __slots__ = ()
    last: ClassVar[str | None] = None

    @abstractmethod
    def make(self, workshop: Workshop, target: Target) -> None:
        """Make it, in the driver; a run that is resumed keeps what was made.

        Raises:
            MantaError: it cannot be made of these data.
        """

    def stand_in(self, path: Path, rows: int) -> bool:
        """Write a placeholder, with which the objective can be built before this is made.

        Returns:
            False if there can be none, as where the material decides shapes.
        """
        if self.last is not None:
            return False
        np.save(path, np.zeros(rows, dtype=np.int32))
        return True

    @classmethod
    def entry(cls, name: str) -> str:
        """Return the name of its file or folder."""
        return f"{name}.npy" if cls.last is None else name

    @classmethod
    def last_file(cls, name: str) -> tuple[str, ...]:
        """Return the path, as its parts, of the file that exists once the material is complete."""
        return (cls.entry(name),) if cls.last is None else (name, cls.last)


MATERIALS: Registry[type[Material]] = Registry("materials", "manta.materials", nested=True)
