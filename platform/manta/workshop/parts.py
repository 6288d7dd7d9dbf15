"""Ray tasks over the part files that `embed` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayTaskError

from manta.data.engine import cluster_cpus
from manta.failures import own_error
from manta.materials import PartWork, Result, Vectors
from manta.serving.embeddings import part_groups, parts_of


def over_parts(features: str, work: PartWork[Result], value: Any) -> Iterator[tuple[int, Result]]:
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


def _vectors(table: Any) -> Vectors:
    column = table["embedding"].combine_chunks()
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return np.asarray(table["index"]), flat.reshape(len(column), -1)
