"""Actors for embedding, as many as the cluster has room for."""

from __future__ import annotations

import os
from dataclasses import dataclass

import ray

from manta.errors import ResourceError
from manta.serving.job import Pool


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """What a user asks of the actors of a job; None leaves it to the cluster.

    Attributes:
        batch: images that go through the encoder at a time.
        actors, most: the pool's least and most actors; None: one a GPU, or one a machine.
        gpus: of an actor, may be a fraction; None: 1 where there are GPUs.
    """

    batch: int = 256
    actors: int | None = None
    most: int | None = None
    gpus: float | None = None


def cluster_pool(request: PoolRequest | None = None) -> Pool:
    """Return the actors that suit the cluster that Ray is connected to.

    Raises:
        ResourceError: an actor wants more GPUs than there are.
    """
    request = request or PoolRequest()
    actors, most = request.actors, request.most
    resources = ray.cluster_resources()
    machines = sum(1 for node in ray.nodes() if node["Alive"])
    gpus = resources.get("GPU", 0.0)
    each = request.gpus if request.gpus is not None else float(gpus > 0)
    # A pool that may grow is let through: an autoscaler may add machines with GPUs.
    if each > gpus and not (most or 0) > (actors or 1):
        raise ResourceError(
            f"an actor wants {each:g} GPUs and the cluster has {gpus:g}; lower --gpus"
        )
    natural = int(gpus // each) if each else machines
    least = actors or max(natural, 1)
    threads = max((os.cpu_count() or 1) // max(least // machines, 1), 1)
    return Pool(least, max(most or least, least), each, 1.0, threads, request.batch)
