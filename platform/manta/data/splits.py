"""Single pass over the rows of a split, as evaluators need it for their bank and queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from manta.data import _blocks
from manta.data._prefetch import Prefetched
from manta.data.arrays import RowIndexes, as_tensor, as_tensors
from manta.data.engine import default_tasks, generate, require_cpu
from manta.data.holdout import Holdout, Split
from manta.data.manifest import Manifest, open_dataset
from manta.data.read import decode_parts, read_rows
from manta.data.stream import Closing, Executor
from manta.leaves import Columns, copied
from manta.modalities import Decoder

if TYPE_CHECKING:
    from torch import Tensor

    from manta.ragged import Data

_TASK_ROWS, _BATCH_ROWS = 2048, 512


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Batch of rows for an evaluator.

    Attributes:
        data: the leaves of b rows by name, contiguous, in memory that the caller may change.
        index: row numbers `[b]` int64.
        labels: `[b]` int64, -1 for a row without one; None if the data have no labels.
    """

    data: Mapping[str, Data]
    index: Tensor
    labels: Tensor | None


def read_split(
    dataset: str | Manifest,
    holdout: Holdout,
    split: Split,
    *,
    limit: int | None = None,
    decoder: Decoder,
    rank: int = 0,
    world: int = 1,
    executor: Executor = "ray",
    tasks: int | None = None,
    cpus_per_task: float = 0.5,
) -> Closing[LabelledBatch]:
    """Return one rank's part of `holdout.sample(split, limit)` in batches of at most 512 rows.

    Work starts at once. The caller must close the iterator or exhaust it.

    Args:
        decoder: of the rows; one that draws takes the part that stands for the whole.
        tasks: decode tasks at a time; None takes half of the cluster's CPUs, shared among ranks.

    Raises:
        ResourceError: no CPU is free for a decode task; raised in place of the first batch.
        DataError: a shard can no longer be read; raised in place of its batch.
    """
    manifest = dataset if isinstance(dataset, Manifest) else open_dataset(dataset)
    mine = np.array_split(holdout.sample(split, limit), world)[rank]
    cuts = [
        {"first": cut, "stop": min(cut + _TASK_ROWS, len(mine))}
        for cut in range(0, len(mine), _TASK_ROWS)
    ]

    def read(cut: dict[str, Any]) -> Iterator[tuple[RowIndexes, Columns, RowIndexes | None]]:
        rows = mine[int(cut["first"]) : int(cut["stop"])]
        encoded = read_rows(manifest, rows, labels=True)
        labels = _as_array(encoded.labels)
        for here, data in decode_parts(
            manifest, rows, encoded.data, decoder, most_rows=_BATCH_ROWS
        ):
            yield rows[here], data, None if labels is None else labels[here]

    def local() -> Iterator[LabelledBatch]:
        return (_labelled(*part) for cut in cuts for part in read(cut))

    def remote() -> Iterator[LabelledBatch]:
        require_cpu(cpus_per_task)

        def work(batch: dict[str, Any]) -> Iterator[Any]:
            for first, stop in zip(batch["first"], batch["stop"], strict=True):
                for rows, columns, labels in read({"first": first, "stop": stop}):
                    yield _blocks.pack(0, rows, columns, labels)

        data = generate(
            cuts, work, block_bytes=1 << 20, cpus=cpus_per_task, tasks=tasks or default_tasks(world)
        )
        for block in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in range(block.num_rows):
                _, rows, columns = _blocks.unpack(block, row, decoder.layout)
                yield _labelled(rows, columns, _blocks.unpack_labels(block, row))

    return Prefetched(remote if executor == "ray" and cuts else local, depth=2)


def _as_array(labels: list[int | None] | None) -> RowIndexes | None:
    if labels is None:
        return None
    return np.array([-1 if label is None else label for label in labels], dtype=np.int64)


def _labelled(rows: RowIndexes, data: Columns, labels: RowIndexes | None) -> LabelledBatch:
    return LabelledBatch(
        as_tensors(copied(data)),
        as_tensor(np.array(rows)),
        None if labels is None else as_tensor(np.array(labels)),
    )
