"""Rows of a dataset that an evaluation uses, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manta.data import Holdout, LabelledBatch, Manifest, RowIndexes, Split, read_split
from manta.data.groups import open_groups
from manta.data.read import read_labels
from manta.data.stream import Executor
from manta.evaluators import MOST_CLASSES, LabelledData
from manta.modalities import Decoder

USUAL_CLASSES = 1_000
"""Labels below this number are numbers of classes, however few rows there are."""


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Selection of rows: at most `limit` of a split.

    Attributes:
        classes: class by the dataset's own label, where the other split is of a dataset that
            numbers them differently; None: labels are classes.
    """

    manifest: Manifest
    holdout: Holdout
    split: Split
    limit: int
    classes: NDArray[np.int64] | None = field(default=None, compare=False)

    @property
    def indexes(self) -> RowIndexes:
        """Return the numbers of the rows, ascending."""
        return self.holdout.sample(self.split, self.limit)

    def class_of(self, labels: Tensor) -> Tensor:
        """Return the classes `[N]` of the dataset's own labels `[N]`; below 0 stays."""
        if self.classes is None:
            return labels
        known = torch.from_numpy(self.classes)
        return torch.where(labels < 0, labels, known[labels.clamp_min(0)])

    def read_labels(self) -> Tensor | None:
        """Return the classes `[N]` of the rows, -1 for none; None where the data have no labels."""
        labels = read_labels(self.manifest, self.indexes)
        return None if labels is None else self.class_of(labels_tensor(labels))


@dataclass(frozen=True, slots=True)
class JointGroups:
    """Groups of bank and queries, which may be of two datasets, by numbers that both share.

    Attributes:
        bank, queries: `[M]` and `[Q]` int64, -1 for none; None where neither has groups.
        names: of the groups, by number.
    """

    bank: Tensor | None = None
    queries: Tensor | None = None
    names: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
        """Return the last fields of `Features`."""
        return self.bank, self.queries, self.names

    @classmethod
    def of(
        cls, bank: SplitRows, queries: SplitRows, in_bank: RowIndexes, in_queries: RowIndexes
    ) -> JointGroups:
        """Return the groups of rows that were read: `in_bank` `[M]` and `in_queries` `[Q]`."""
        both = [(bank, in_bank), (queries, in_queries)]
        if all(open_groups(rows.manifest) is None for rows, _ in both):
            return cls()
        numbers: dict[str, int] = {}
        tensors = []
        for rows, indexes in both:
            groups, own = open_groups(rows.manifest), np.full(len(indexes), -1, dtype=np.int64)
            if groups is not None:
                shared = [numbers.setdefault(name, len(numbers)) for name in groups.names]
                local = groups.of(indexes)
                own = np.where(local < 0, -1, np.array(shared, dtype=np.int64)[local])
            tensors.append(torch.from_numpy(own))
        return cls(tensors[0], tensors[1], tuple(numbers))


def count_groups(bank: SplitRows, queries: SplitRows) -> int:
    """Return the number of groups that rows of the bank or of the queries belong to."""
    found = JointGroups.of(bank, queries, bank.indexes, queries.indexes)
    own = [one[one >= 0] for one in (found.bank, found.queries) if one is not None]
    return len(torch.unique(torch.cat(own))) if own else 0


def labels_tensor(labels: Sequence[int | None]) -> Tensor:
    """Return labels `[N]` as int64, -1 for none."""
    return torch.tensor([-1 if one is None else one for one in labels], dtype=torch.int64)


def most_classes(*splits: SplitRows) -> int:
    """Return the number from which on a label is an id and no number of a class.

    No dataset has more classes than rows, but for one that declares them, and a few rows of one
    of the usual thousand.
    """
    data = {rows.manifest.digest: rows.manifest for rows in splits}.values()
    rows, declared = sum(one.rows for one in data), max(len(one.classes or ()) for one in data)
    return min(max(rows, declared, USUAL_CLASSES), MOST_CLASSES)


class Reader(Protocol):
    """Source of rows."""

    def __call__(self, rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        """Yield a rank's part of `rows.indexes`, in order."""


def decoded(
    rows: SplitRows, *, decoder: Decoder, rank: int, world: int, executor: Executor
) -> Iterator[LabelledBatch]:
    """Yield decoded rows; with `decoder` and `executor` bound, a `Reader`."""
    return read_split(
        rows.manifest,
        rows.holdout,
        rows.split,
        limit=rows.limit,
        decoder=decoder,
        rank=rank,
        world=world,
        executor=executor,
    )


def read_alone(
    read: Reader,
    splits: Mapping[str, SplitRows],
    split: Literal["bank", "queries"],
    limit: int | None = None,
) -> Iterator[LabelledData]:
    """Yield the rows of all ranks, read by this one.

    With `read` and `splits` bound it is `EncoderAccess.rows`.
    """
    rows = splits[split]
    rows = rows if limit is None else replace(rows, limit=min(limit, rows.limit))
    for batch in read(rows, rank=0, world=1):
        labels = batch.labels
        yield batch.data, None if labels is None else splits[split].class_of(labels)
