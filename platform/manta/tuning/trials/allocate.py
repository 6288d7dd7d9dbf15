"""What a trial gets of the cluster, and how many trials run at a time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import ray

from manta.cluster import DECODE_CPUS, is_own
from manta.config import Experiment
from manta.errors import ConfigError, ResourceError
from manta.tuning.study.settings import StudySettings

DRIVER_CPUS = 0.01
"""Logical CPUs of a trial whose workers are a Ray Train run of its own: it only waits for them."""


@dataclass(frozen=True, slots=True)
class TrialResources:
    """What each trial gets.

    Attributes:
        concurrent: trials at a time.
        request: what a trial's actor asks Ray for.
        workers: of each trial.
        cpus, gpus: of each worker.
        threads: torch threads of each worker.
        memory: bytes that a trial's process may add to what it has at the start; None: no limit.
    """

    concurrent: int
    request: dict[str, float]
    workers: int
    cpus: float
    gpus: float
    threads: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class ClusterResources:
    """What there is to divide.

    Attributes:
        cpus, gpus: logical ones of all nodes together.
        nodes: resources of each live node.
        cores: of this machine.
        ours: whether the cluster was started for this study, on this machine alone.
    """

    cpus: float
    gpus: float
    nodes: list[dict[str, float]]
    cores: int
    ours: bool

    @classmethod
    def connected(cls) -> ClusterResources:
        """Return the cluster to which this process is connected."""
        total = ray.cluster_resources()
        return cls(
            cpus=total.get("CPU", 0.0),
            gpus=total.get("GPU", 0.0),
            nodes=[node["Resources"] for node in ray.nodes() if node["Alive"]],
            cores=os.cpu_count() or 1,
            ours=is_own(),
        )

    def places(self, cpus: float, gpus: float) -> int:
        """Return how many workers fit; one cannot be spread over two nodes."""
        count = 0
        for node in self.nodes:
            here = math.floor(node.get("CPU", 0.0) / cpus)
            count += min(here, math.floor(node.get("GPU", 0.0) / gpus)) if gpus else here
        return count


def allocate(
    settings: StudySettings, recipe: Experiment, cluster: ClusterResources
) -> TrialResources:
    """Divide the cluster among trials.

    Raises:
        ResourceError: a trial, or as many at a time as the settings say, can never be had. Ray
            would wait for ever.
        ConfigError: an autoscaling cluster does not say how many trials it will hold, or memory is
            limited for trials of several workers.
    """
    wishes, workers = settings.resources, recipe.resources.workers
    if workers > 1 and wishes.memory_gib is not None:
        raise ConfigError(
            "study.resources.memory_gib limits trials of one worker; drop it, or resources.workers"
        )
    gpus = _gpus_of_worker(settings, recipe, cluster)
    concurrent = _concurrent(settings, recipe, cluster, gpus)
    request = {"CPU": wishes.cpus, "GPU": gpus}
    if workers > 1:
        # The workers ask for their own.
        request = {"CPU": DRIVER_CPUS}
    elif settings.scheduler.name == "pbt":
        # PBT has all trials at once and pauses some for others. A request of the whole share keeps
        # more than `concurrent` from running at a time.
        room = (cluster.cpus - DECODE_CPUS) / concurrent
        request["CPU"] = max(wishes.cpus, room)
    return TrialResources(
        concurrent=concurrent,
        request=request,
        workers=workers,
        cpus=wishes.cpus,
        gpus=gpus,
        threads=recipe.resources.threads_per_worker
        or _threads(wishes.cpus, concurrent * workers, cluster),
        memory=None if wishes.memory_gib is None else int(wishes.memory_gib * 2**30),
    )


def check_reach(tracking_uri: str, nodes: int) -> None:
    """Check that trials on other machines reach the tracking store.

    Raises:
        ResourceError: they could not.
    """
    if nodes > 1 and tracking_uri.startswith("sqlite"):
        raise ResourceError(
            f"the cluster has {nodes} nodes, and the tracking store is a file on this one; "
            "set MLFLOW_TRACKING_URI to a server, and --runs to a URL or a disk that all of them "
            "see"
        )


def _gpus_of_worker(
    settings: StudySettings, recipe: Experiment, cluster: ClusterResources
) -> float:
    if settings.resources.gpus is not None:
        return settings.resources.gpus
    use = recipe.resources.gpu
    return float(use is True or (use == "auto" and cluster.gpus > 0))


def _concurrent(
    settings: StudySettings, recipe: Experiment, cluster: ClusterResources, gpus: float
) -> int:
    """Return how many trials run at a time.

    Raises:
        ResourceError, ConfigError: as `allocate`.
    """
    wishes, workers = settings.resources, recipe.resources.workers
    if recipe.resources.autoscaling:
        if wishes.concurrent is None:
            raise ConfigError(
                "on an autoscaling cluster study.resources.concurrent must say how many trials run "
                "at once"
            )
        return wishes.concurrent
    cpus = workers * wishes.cpus + (DRIVER_CPUS if workers > 1 else 0.0)
    by_cpus = math.floor((cluster.cpus - DECODE_CPUS) / cpus)
    fits = min(by_cpus, cluster.places(wishes.cpus, gpus) // workers)
    trial = f"{cpus:g} logical CPUs" + (f" and {workers * gpus:g} GPUs" if gpus else "")
    have = f"{cluster.cpus:g} logical CPUs and {cluster.gpus:g} GPUs"
    if fits < 1:
        raise ResourceError(
            f"a trial needs {trial} (and {DECODE_CPUS:g} CPU is for decoding), but the cluster has "
            f"{have}; lower study.resources.cpus, study.resources.gpus or resources.workers, "
            "or set resources.autoscaling=true"
        )
    if wishes.concurrent is not None and wishes.concurrent > fits:
        raise ResourceError(
            f"study.resources.concurrent={wishes.concurrent} trials of {trial} do not fit into "
            f"{have}: {fits} would; lower it, or study.resources.cpus"
        )
    # Logical CPUs of a machine started for this study are more than it has: no more trials than
    # there are cores.
    cores = max(cluster.cores // workers, 1) if cluster.ours else fits
    return wishes.concurrent or min(fits, cores, settings.trials)


def _threads(cpus: float, workers: int, cluster: ClusterResources) -> int:
    """Return torch threads of a worker, of which so many run at a time."""
    share = cluster.cores / workers if cluster.ours else cpus
    return max(int(share), 1)
