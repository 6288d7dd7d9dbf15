"""Rows of a dataset that an evaluation uses, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from manta.data import Holdout, LabelledBatch, Manifest, RowIndexes, Split, read_split
from manta.data.stream import Executor
from manta.evaluators import LabelledImages


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Selection of rows: at most `limit` of a split."""

    manifest: Manifest
    holdout: Holdout
    split: Split
    limit: int

    @property
    def indexes(self) -> RowIndexes:
        """Return the numbers of the rows, ascending."""
        return self.holdout.sample(self.split, self.limit)


class Reader(Protocol):
    """Source of rows."""

    def __call__(self, rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        """Yield a rank's part of `rows.indexes`, in order."""


def decoded(
    rows: SplitRows, *, size: int, rank: int, world: int, executor: Executor
) -> Iterator[LabelledBatch]:
    """Yield rows decoded to `size`; with `size` and `executor` bound, a `Reader`."""
    return read_split(
        rows.manifest,
        rows.holdout,
        rows.split,
        limit=rows.limit,
        size=size,
        rank=rank,
        world=world,
        executor=executor,
    )


def read_alone(
    read: Reader,
    splits: Mapping[str, SplitRows],
    split: Literal["bank", "queries"],
    limit: int | None = None,
) -> Iterator[LabelledImages]:
    """Yield the rows of all ranks, read by this one.

    With `read` and `splits` bound it is `EncoderAccess.rows`.
    """
    rows = splits[split]
    rows = rows if limit is None else replace(rows, limit=min(limit, rows.limit))
    for batch in read(rows, rank=0, world=1):
        yield batch.images, batch.labels
