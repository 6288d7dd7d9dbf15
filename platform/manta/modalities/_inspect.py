"""Inspection of samples at an ingest; free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from manta.modalities._decoder import Decoder


@dataclass(frozen=True, slots=True)
class Inspected:
    """A sample that can be used.

    Attributes:
        data: the bytes to keep.
        length: of the sample, in the modality's own unit, such as pixels of the shorter side.
        measures: numbers of this sample, of which a dataset keeps sum, least and most by name.
    """

    data: bytes
    length: int
    measures: Mapping[str, float] | None = None


class Inspector(Protocol):
    """Check of a sample's bytes at an ingest; plain data that can be pickled.

    Its `repr` tells its settings: two ingests with the same `repr` give the same dataset.

    Attributes:
        column: of the shards, that holds the samples.
    """

    @property
    def column(self) -> str: ...

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        """Return what is kept of a sample.

        Args:
            measure: whether this is one of the rows whose `measures` count, where they take time.

        Raises:
            BadSample: the sample cannot be used.
        """
        ...


class Learner(Protocol):
    """Learner of what belongs to a whole dataset, such as a vocabulary; plain data to be pickled.

    An ingest asks it once, after the last shard, so that interruptions and the machines that wrote
    the shards make no difference. What it says depends on the rows and its settings alone, and
    joins the dataset's stats. Its `repr` is part of the inspector's where it changes a dataset.

    Attributes:
        rows: how many it learns from, at most; they are spread over the dataset. 0: none.
    """

    @property
    def rows(self) -> int: ...

    def __call__(self, rows: Iterable[bytes]) -> Mapping[str, Any]:
        """Return stats by name, as plain data."""
        ...


@dataclass(frozen=True)
class DecodingInspector:
    """Inspector that keeps every sample that can be decoded, as it is.

    Its length is that of the longest of its leaves, and 1 where none has a length of its own.

    Args:
        decoder: of the rows.
        column: of the shards, that holds the samples.
    """

    decoder: Decoder
    column: str

    def __call__(self, data: bytes, *, measure: bool) -> Inspected:
        row = self.decoder(data, None)
        lengths = [len(row[name]) for name, leaf in self.decoder.layout.items() if leaf.ragged]
        length = max(lengths, default=1)
        return Inspected(data, length, {"length": length, "bytes": len(data)})
