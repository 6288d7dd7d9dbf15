"""Sources of a worker's rows: a stream of its own, or a cache that several runs share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from manta.config import Experiment
from manta.data import (
    DecodedCache,
    LabelledBatch,
    Manifest,
    Plan,
    RankBatch,
    open_dataset,
    read_split,
)
from manta.data.arrays import as_tensors
from manta.data.read import read_rows
from manta.data.stream import Closing, Executor
from manta.data.stream import stream as open_stream
from manta.evaluation.rows import SplitRows, labels_tensor
from manta.runs.build import decoder_of, plan_of

ROWS_A_BATCH = 512
"""Rows of a batch that an evaluation reads from the cache."""


class Supply(Protocol):
    """Source of a worker's rows: batches to train on, and rows to evaluate on."""

    def batches(
        self, plan: Plan, *, rank: int, world: int, start: int, stop: int
    ) -> Closing[RankBatch]:
        """Yield one rank's part of the global batches of steps `start` to `stop`."""

    def read(self, rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        """Yield one rank's part of the rows of a split, with labels if the data have any."""


@dataclass(frozen=True, slots=True)
class StreamedRows:
    """Rows decoded for this run alone, by Ray Data tasks or by the worker itself.

    Attributes:
        tasks: decode tasks at a time, for each worker; None leaves it to the CPUs.
    """

    manifest: Manifest
    experiment: Experiment
    executor: Executor = "ray"
    tasks: int | None = None

    def batches(
        self, plan: Plan, *, rank: int, world: int, start: int, stop: int
    ) -> Closing[RankBatch]:
        config = self.experiment.data
        return open_stream(
            self.manifest,
            plan,
            rank=rank,
            world=world,
            decoder=decoder_of(self.experiment, self.manifest),
            start_step=start,
            stop_step=stop,
            executor=self.executor,
            cache=config.cache,
            tasks=self.tasks,
        )

    def read(self, rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        return read_split(
            self.manifest,
            rows.holdout,
            rows.split,
            limit=rows.limit,
            decoder=decoder_of(self.experiment, self.manifest),
            rank=rank,
            world=world,
            executor=self.executor,
        )


@dataclass(frozen=True, slots=True)
class CachedRows:
    """Rows decoded once into the object store, which any number of runs read in place.

    Attributes:
        labels: class of each row that evaluations use, by row, None for none; empty if the data
            have no labels.
    """

    manifest: Manifest
    cache: DecodedCache
    labels: dict[int, int | None]

    @classmethod
    def decode(cls, experiment: Experiment, dataset: str, *, bank: int, queries: int) -> CachedRows:
        """Start decoding all rows of an experiment; return the source, with labels for evaluations.

        Args:
            bank: most rows of the bank to read labels of.
            queries: most rows of the queries to read labels of.

        Raises:
            ConfigError: the decoder draws, so that nothing can be kept.
            ResourceError: the rows do not fit into the object store.
        """
        manifest = open_dataset(dataset)
        plan = plan_of(experiment, manifest)
        cache = DecodedCache(manifest, plan, decoder=decoder_of(experiment, manifest))
        limits = experiment.evaluation
        splits = (
            plan.holdout.sample("bank", min(bank, limits.bank_rows)),
            plan.holdout.sample("queries", min(queries, limits.query_rows)),
        )
        labels: dict[int, int | None] = {}
        for rows in splits:
            classes = read_rows(manifest, rows, labels=True).labels
            if classes is not None:
                labels |= dict(zip(rows.tolist(), classes, strict=True))
        return cls(manifest, cache, labels)

    def batches(
        self, plan: Plan, *, rank: int, world: int, start: int, stop: int
    ) -> Closing[RankBatch]:
        return open_stream(
            self.manifest,
            plan,
            rank=rank,
            world=world,
            decoder=self.cache.decoder,
            start_step=start,
            stop_step=stop,
            cache=self.cache,
        )

    def read(self, rows: SplitRows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        mine = np.array_split(rows.indexes, world)[rank]
        for first in range(0, len(mine), ROWS_A_BATCH):
            here = mine[first : first + ROWS_A_BATCH]
            (data,) = self.cache.steps(here[None])
            yield LabelledBatch(as_tensors(data), torch.from_numpy(here.copy()), self._labels(here))

    def _labels(self, rows: NDArray[Any]) -> torch.Tensor | None:
        if not self.labels:
            return None
        return labels_tensor([self.labels[row] for row in rows.tolist()])
