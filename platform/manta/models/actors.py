"""Choice of the actors for embedding: as many as the cluster has room for."""

from __future__ import annotations

import os
from dataclasses import dataclass

import ray

from manta.errors import ResourceError
from manta.serving.job import Pool


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A user's request for the actors of a job; None leaves a value to the cluster.

    Attributes:
        batch: images that go through the encoder at a time.
        actors, most: least and most number of actors; None: one per GPU, or one per machine.
        gpus: GPUs of an actor, possibly a fraction; None: 1 if the cluster has GPUs.
    """

    batch: int = 256
    actors: int | None = None
    most: int | None = None
    gpus: float | None = None


def cluster_pool(request: PoolRequest | None = None) -> Pool:
    """Return the pool of actors for the cluster that Ray is connected to.

    Raises:
        ResourceError: an actor needs more GPUs than the cluster has.
    """
    request = request or PoolRequest()
    actors, most = request.actors, request.most
    resources = ray.cluster_resources()
    machines = sum(1 for node in ray.nodes() if node["Alive"])
    gpus = resources.get("GPU", 0.0)
    each = request.gpus if request.gpus is not None else float(gpus > 0)
    # A pool that may grow is accepted, since an autoscaler may add machines with GPUs.
    if each > gpus and not (most or 0) > (actors or 1):
        raise ResourceError(
            f"an actor wants {each:g} GPUs and the cluster has {gpus:g}; lower --gpus"
        )
    natural = int(gpus // each) if each else machines
    least = actors or max(natural, 1)
    threads = max((os.cpu_count() or 1) // max(least // machines, 1), 1)
    return Pool(least, max(most or least, least), each, 1.0, threads, request.batch)
