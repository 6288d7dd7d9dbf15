"""The end of an ingest: what is learnt of a whole dataset, from rows spread over its shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

from manta.data._ingest_job import read_cpus
from manta.data.engine import require_cpu
from manta.data.manifest import Manifest
from manta.data.read import read_rows
from manta.data.stream import Executor
from manta.modalities import Learner

_MOST_BYTES = 64 << 20
"""Bytes to learn from, at most."""
_GROUPS_AT_ONCE = 32
"""Row groups that are held in memory."""


def learnt_of(manifest: Manifest, learner: Learner, executor: Executor) -> dict[str, Any]:
    """Return what is learnt of a dataset whose shards are all written.

    The rows depend on the dataset alone, so an ingest that is interrupted here learns the same when
    it goes on. On a cluster a task reads them, and the driver gets what is learnt.
    """
    if executor == "local" or learner.rows == 0:
        return _learn(manifest, learner)
    cpus = read_cpus()
    require_cpu(cpus)
    task = ray.remote(num_cpus=cpus)(_learn)
    return dict(ray.get(task.remote(manifest, learner)))


def spread_rows(manifest: Manifest, most: int) -> Iterator[bytes]:
    """Yield about `most` rows at most, of row groups spread evenly over a dataset, in order.

    All rows where the dataset has no more. There is one row group at least.
    """
    groups = len(manifest.group_starts) - 1
    most = min(most, manifest.rows * _MOST_BYTES // max(manifest.bytes, 1))
    count = groups if most >= manifest.rows else max(groups * most // manifest.rows, 1)
    # The middle of equal parts: neither the first rows nor the last stand for the others.
    chosen = ((np.arange(count) + 0.5) * groups / count).astype(np.int64)
    for cut in range(0, count, _GROUPS_AT_ONCE):
        some = chosen[cut : cut + _GROUPS_AT_ONCE]
        spans = zip(manifest.group_starts[some], manifest.group_starts[some + 1], strict=True)
        indexes = np.concatenate([np.arange(first, stop) for first, stop in spans])
        yield from read_rows(manifest, indexes).data


def _learn(manifest: Manifest, learner: Learner) -> dict[str, Any]:
    rows = spread_rows(manifest, learner.rows) if learner.rows else iter(())
    return dict(learner(rows))
