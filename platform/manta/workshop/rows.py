"""Ray Data tasks over chunks of a dataset's rows."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from manta.data import open_dataset
from manta.data.arrays import RowIndexes
from manta.data.engine import hush
from manta.data.read import decode_rows, read_rows
from manta.failures import own_error
from manta.leaves import Columns
from manta.materials import Result, RowWork
from manta.modalities import Decoder
from manta.serving.job import Pool


def over_rows(
    work: RowWork[Result], dataset: str, chunks: Mapping[int, RowIndexes], pool: Pool
) -> Iterator[tuple[int, Result]]:
    """Yield `(number, result of the work)` of each chunk as its task ends, in no particular order.

    Results travel by Ray's object store, so only the dataset must be where all machines see it.

    Raises:
        MantaError: as the work raised it.
    """
    if not chunks:
        return
    numbers = list(chunks)
    items = [{"chunk": number, "rows": chunks[number]} for number in numbers]
    tasks = ray.data.from_items(items, override_num_blocks=len(items))
    hush(tasks.context)
    strategy = ActorPoolStrategy(
        min_size=min(pool.least, len(items)),
        max_size=min(pool.most, len(items)),
        max_tasks_in_flight_per_actor=2,
    )
    results = tasks.map_batches(
        _RowActor,
        fn_constructor_kwargs={"work": work, "dataset": dataset, "pool": pool},
        compute=strategy,
        num_cpus=None if pool.gpus else pool.cpus,
        num_gpus=pool.gpus or None,
        batch_size=1,
    )
    try:
        for row in results.iter_rows():
            yield int(row["chunk"]), pickle.loads(row["result"])
    except RayError as error:
        raise own_error(error) or error from None


class DatasetRows:
    """Reader of a dataset's rows, as `manta.materials.RowReader` describes it."""

    def __init__(self, dataset: str, device: str) -> None:
        self.manifest, self.device = open_dataset(dataset), device

    def encoded(self, rows: RowIndexes) -> list[bytes]:
        return read_rows(self.manifest, rows).data

    def decoded(self, rows: RowIndexes, decoder: Decoder) -> Columns:
        return decode_rows(self.manifest, rows, self.encoded(rows), decoder)


class _RowActor:
    """Actor that takes chunks and returns what the work makes of them."""

    def __init__(self, work: RowWork[Any], dataset: str, pool: Pool) -> None:
        import torch

        torch.set_num_threads(pool.threads)
        device = "cuda" if pool.gpus and torch.cuda.is_available() else "cpu"
        self.run = work.open(DatasetRows(dataset, device))

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
        (number,), (rows,) = batch["chunk"], batch["rows"]
        result = self.run(np.array(rows, dtype=np.int64))
        return {"chunk": [int(number)], "result": [pickle.dumps(result, protocol=5)]}
