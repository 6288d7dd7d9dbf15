"""Actors for embedding, as many as the cluster has room for."""

from __future__ import annotations

import os

import ray

from manta.errors import ResourceError
from manta.serving.job import Pool


def cluster_pool(
    batch: int = 256, actors: int | None = None, most: int | None = None, gpus: float | None = None
) -> Pool:
    """The actors that suit the cluster that Ray is connected to; arguments as `embed_data` takes
    them.

    Raises:
        ResourceError: an actor wants more GPUs than there are.
    """
    have = ray.cluster_resources()
    machines = sum(1 for node in ray.nodes() if node["Alive"])
    each = gpus if gpus is not None else float(have.get("GPU", 0) > 0)
    if each > have.get("GPU", 0) and not (most or 0) > (actors or 1):
        raise ResourceError(
            f"an actor wants {each:g} GPUs and the cluster has {have.get('GPU', 0):g}; lower --gpus"
        )
    natural = int(have.get("GPU", 0) // each) if each else machines
    least = actors or max(natural, 1)
    threads = max((os.cpu_count() or 1) // max(least // machines, 1), 1)
    return Pool(least, max(most or least, least), each, 1.0, threads, batch)
