"""Labels as data have them, made what probes can take: none left out, ids numbered densely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manta.ragged import Leaves, rows_of

MOST_CLASSES = 65_536
"""Labels from this number on are ids and no numbers of classes: a probe that has a column for each
would take all memory."""

SplitName = Literal["bank", "queries"]
LabelledData = tuple[Leaves, Tensor | None]
"""Decoded rows, and int64 labels `[B]` where the data have them, below 0 for none; both on
the CPU."""


class RowReader(Protocol):
    """Source of an `EncoderAccess`'s rows."""

    def __call__(self, split: SplitName, limit: int | None = None) -> Iterator[LabelledData]:
        """Yield batches of a split, the same at every call.

        At most `limit` rows, drawn from all over the split. With None they are those of
        `Features`, in its order.
        """


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many rows there are to evaluate on, and how many of each class.

    Attributes:
        bank, queries: rows of each class, by its number.
        bank_rows, query_rows: all rows, with a label or without.
        groups: number of groups that rows belong to.
    """

    bank: Mapping[int, int]
    queries: Mapping[int, int]
    bank_rows: int
    query_rows: int
    groups: int = 0

    @classmethod
    def of(
        cls,
        bank: Tensor | None,
        queries: Tensor | None,
        *,
        bank_rows: int,
        query_rows: int,
        groups: int = 0,
    ) -> LabelCounts:
        """Return the counts of labels `[M]` and `[Q]`, below 0 for none; None: no row has one."""
        return cls(_counted(bank), _counted(queries), bank_rows, query_rows, groups)

    @property
    def labelled_bank(self) -> int:
        """Rows of the bank that have a label."""
        return sum(self.bank.values())

    @property
    def labelled_queries(self) -> int:
        """Queries that have a label."""
        return sum(self.queries.values())

    @property
    def labelled(self) -> str:
        """Which part of the rows has labels, in words; empty where all have, or none."""
        have, rows = self.labelled_bank + self.labelled_queries, self.bank_rows + self.query_rows
        return f"labels on {have:,} of {rows:,} rows" if 0 < have < rows else ""

    @property
    def strange_queries(self) -> int:
        """Queries of a class that no row of the bank has."""
        return sum(rows for label, rows in self.queries.items() if label not in self.bank)

    def missing_in_bank(self) -> str | None:
        """Return what the bank lacks for a probe to learn from, in words; None where it suffices.

        The words go on after "needs".
        """
        if not self.labelled_bank:
            if not self.labelled_queries:
                return "labels"
            return f"labels of what it learns from, and none of {self.bank_rows:,} rows has one"
        if len(self.bank) < 2:
            return (
                f"two classes, and all {self.labelled_bank:,} labelled rows that it learns from "
                "are of one"
            )
        return None

    def missing(self) -> str | None:
        """Return what a probe lacks that learns from the bank and is scored on the queries.

        As `missing_in_bank` does.
        """
        if not self.query_rows:
            return "rows that are held out, and there are none; raise evaluation.holdout"
        if (missing := self.missing_in_bank()) is not None:
            return missing
        if not self.labelled_queries:
            rows = self.query_rows
            return f"labels of what it is scored on, and none of {rows:,} rows has one"
        if self.strange_queries < self.labelled_queries:
            return None
        alone = max(self.bank.values()) == 1
        each = "; each label is of one row, as ids are" if alone else ""
        return f"a class that is in both bank and queries, and there is none{each}"


def _counted(labels: Tensor | None) -> dict[int, int]:
    if labels is None:
        return {}
    numbers, rows = torch.unique(labels[labels >= 0], return_counts=True)
    return dict(zip(numbers.tolist(), rows.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class LabelNumbers:
    """Dense numbers of labels that are ids.

    Attributes:
        ids: `[C]` labels as the data have them, ascending; None: they are numbers of classes.
    """

    ids: Tensor | None

    @classmethod
    def of(cls, bank: Tensor, queries: Tensor, most: int) -> LabelNumbers:
        """Return the numbers of all labels of either; ids are those where one is not below `most`.

        Labels that are numbers of classes stay as they are, also where some class has no row.
        """
        labels = torch.cat([bank.cpu(), queries.cpu()])
        largest = int(labels.max()) if len(labels) else -1
        return cls(torch.unique(labels[labels >= 0]) if largest >= most else None)

    def __call__(self, labels: Tensor) -> Tensor:
        """Return the numbers `[N]` of labels `[N]`, which must have been among those counted."""
        if self.ids is None:
            return labels
        return torch.searchsorted(self.ids.to(labels.device), labels)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """`RowReader` that yields the rows that have a label, and numbers them densely.

    Attributes:
        rows: reads all rows.
        numbers: of the labels.
        labelled: rows of each split that have a label.
    """

    rows: RowReader
    numbers: LabelNumbers
    labelled: Mapping[SplitName, int]

    def __call__(self, split: SplitName, limit: int | None = None) -> Iterator[LabelledData]:
        """Yield batches of a split's labelled rows; of more than `limit`, as many of them."""
        labelled = self.labelled[split]
        chosen = None if limit is None or labelled <= limit else _spread(labelled, limit)
        before = 0
        for data, labels in self.rows(split):
            if labels is None:
                continue
            here = (labels >= 0).nonzero().flatten()
            places = np.arange(before, before + len(here))
            before += len(here)
            if chosen is not None:
                here = here[torch.from_numpy(np.isin(places, chosen))]
            if len(here):
                yield rows_of(data, here), self.numbers(labels[here])


def _spread(rows: int, limit: int) -> NDArray[np.int64]:
    """Return `limit` of `rows` places, one of each stretch, as `manta.data.Holdout` draws them."""
    borders = np.arange(limit + 1) * rows // limit
    return np.random.default_rng(0).integers(borders[:-1], borders[1:])
