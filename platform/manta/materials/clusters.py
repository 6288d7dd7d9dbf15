"""Clustering of embeddings by k-means over the part files that `embed` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayTaskError

from manta.data.engine import cluster_cpus
from manta.errors import DataError
from manta.failures import own_error
from manta.objectives import ClusterMaterial
from manta.serving.embeddings import part_groups, parts_of

FIT_ROWS = 200_000
"""Most rows to which centroids are fitted, spread over the data."""

Vectors = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Row numbers `[N]`, and their embeddings `[N, D]`."""
Result = TypeVar("Result")
PartWork = Callable[[Iterator[Vectors], Any], Result]
"""Work of a task: a function of the row groups of one part, and of a value that all tasks share."""


def assign_clusters(features: str, material: ClusterMaterial, table: npt.NDArray[np.int32]) -> None:
    """Fill `table [rows]` with each row's cluster, by k-means of the normalised embeddings.

    Centroids start from k-means++ and are fitted in mini-batches to a sample of the rows. Ray tasks
    read the parts twice: for the sample, and to assign every row. This process holds only the
    sample and the results of a few tasks.

    Args:
        features: folder that `embed` wrote.
        table: filled in place.

    Raises:
        DataError: rows are missing.
    """
    from sklearn.cluster import MiniBatchKMeans

    every = max(1, -(-len(table) // FIT_ROWS))
    sampled = dict(_over_parts(features, _sample, every))
    if (missing := len(table) - sum(rows for rows, _ in sampled.values())) != 0:
        raise DataError(
            f"{missing:,} rows do not decode any more and have no features; ingest again"
        )
    # In the order of the parts and not in that in which tasks ended, so that the same data give the
    # same clusters.
    sample = np.concatenate(
        [vectors for number in sorted(sampled) for vectors in sampled.pop(number)[1]]
    )
    model = MiniBatchKMeans(
        material.clusters, random_state=material.seed, n_init=3, batch_size=4096
    ).fit(sample)
    for _, groups in _over_parts(features, _nearest, model.cluster_centers_):
        for index, clusters in groups:
            table[index] = clusters


def _over_parts(features: str, work: PartWork[Result], value: Any) -> Iterator[tuple[int, Result]]:
    """Yield `(number, work(rows of the part, value))` of each part as its Ray task ends.

    Only a few tasks run ahead. This is not a Ray Dataset, whose blocks hold rows of one shape: the
    result for a part is a count beside vectors, and belongs to the part's number.
    """
    # SPREAD runs the tasks outside the placement group of a tuning trial, which holds no CPU.
    task = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(_over_part)
    shared = ray.put(value)
    numbers = iter(parts_of(features))
    ahead = max(2 * int(cluster_cpus()), 1)
    running = {
        task.remote(features, number, work, shared): number for number in islice(numbers, ahead)
    }
    while running:
        (ready,), _ = ray.wait(list(running))
        try:
            result = ray.get(ready)
        except RayTaskError as error:
            raise own_error(error) or error from None
        yield running.pop(ready), result
        # The next task starts only once the caller has taken this result, so that results do not
        # pile up in this process.
        running |= {
            task.remote(features, number, work, shared): number for number in islice(numbers, 1)
        }


def _over_part(features: str, number: int, work: PartWork[Result], value: Any) -> Result:
    return work((_vectors(table) for table in part_groups(features, number)), value)


def _sample(groups: Iterator[Vectors], every: int) -> tuple[int, list[npt.NDArray[np.float32]]]:
    """Return the number of rows, and the unit vectors of those whose row number `every` divides."""
    rows, sample = 0, []
    for index, vectors in groups:
        rows += len(index)
        sample.append(_unit(vectors[index % every == 0]))
    return rows, sample


def _nearest(
    groups: Iterator[Vectors], centroids: npt.NDArray[np.float32]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
    """Return, for each row group, the row numbers and the numbers of their nearest centroids."""
    from sklearn.metrics import pairwise_distances_argmin

    return [
        (index, pairwise_distances_argmin(_unit(vectors), centroids).astype(np.int32))
        for index, vectors in groups
        if len(index)
    ]


def _vectors(table: Any) -> Vectors:
    column = table["embedding"].combine_chunks()
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return np.asarray(table["index"]), flat.reshape(len(column), -1)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return scaled
