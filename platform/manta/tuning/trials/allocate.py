"""What a trial gets of the cluster, and how many trials run at a time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import ray

from manta.cluster import DECODE_CPUS
from manta.config import Experiment
from manta.errors import ConfigError, ResourceError
from manta.tuning.study.settings import StudySettings

DRIVER_CPUS = 0.01
"""Logical CPUs of a trial whose workers are a Ray Train run of its own: it only waits for them."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of one trial.

    Attributes:
        request: what its actor asks Ray for.
        cpus, gpus: of each worker.
        threads: torch threads of each worker.
    """

    concurrent: int
    request: Any
    cpus: float
    gpus: float
    threads: int


def share(settings: StudySettings, recipe: Experiment) -> Share:
    """Divide the cluster among trials; Ray must be connected.

    Raises:
        ResourceError: a trial, or as many as are asked for at a time, can never be had. Ray would
            wait for ever.
        ConfigError: an autoscaling cluster does not say how many trials it will hold.
    """
    wanted, workers = settings.resources, recipe.resources.workers
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    asked_gpu = recipe.resources.gpu is True or (recipe.resources.gpu == "auto" and gpus > 0)
    each_gpu = wanted.gpus if wanted.gpus is not None else float(asked_gpu)
    each = workers * wanted.cpus + (DRIVER_CPUS if workers > 1 else 0.0)
    fits = min(math.floor((cpus - DECODE_CPUS) / each), _places(wanted.cpus, each_gpu) // workers)
    if recipe.resources.autoscaling:
        if wanted.concurrent is None:
            raise ConfigError(
                "on an autoscaling cluster study.resources.concurrent must say how many trials run at once"
            )
        concurrent = wanted.concurrent
    else:
        _check(fits, settings, recipe, f"{cpus:g} logical CPUs and {gpus:g} GPUs", each, each_gpu)
        # Logical CPUs of a machine started for this study are more than it has: as many trials as
        # cores.
        local = (
            math.inf if os.environ.get("RAY_ADDRESS") else max((os.cpu_count() or 1) // workers, 1)
        )
        concurrent = wanted.concurrent or int(min(fits, local, settings.trials))
    cores = os.cpu_count() or 1
    threads = recipe.resources.threads_per_worker or max(int(cores / (concurrent * workers)), 1)
    if os.environ.get("RAY_ADDRESS"):
        threads = recipe.resources.threads_per_worker or max(int(wanted.cpus), 1)
    if workers > 1 and wanted.memory_gib is not None:
        raise ConfigError(
            "study.resources.memory_gib limits trials of one worker; drop it, or resources.workers"
        )
    if settings.scheduler.name == "pbt" and workers == 1:
        # No more than these fit at a time; PBT pauses some for others.
        room = (cpus - DECODE_CPUS) / concurrent
        return Share(
            concurrent,
            {"CPU": max(wanted.cpus, room), "GPU": each_gpu},
            wanted.cpus,
            each_gpu,
            threads,
        )
    if workers > 1:
        return Share(concurrent, {"CPU": DRIVER_CPUS}, wanted.cpus, each_gpu, threads)
    return Share(concurrent, {"CPU": wanted.cpus, "GPU": each_gpu}, wanted.cpus, each_gpu, threads)


def check_reach(tracking_uri: str) -> None:
    """
    Raises:
        ResourceError: trials on other machines could not reach the tracking store.
    """
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    if nodes > 1 and tracking_uri.startswith("sqlite"):
        raise ResourceError(
            f"the cluster has {nodes} nodes, and the tracking store is a file on this one; set MLFLOW_TRACKING_URI to "
            "a server, and --runs to a URL or a disk that all of them see"
        )


def _places(cpus: float, gpus: float) -> int:
    """Workers that the nodes hold: one cannot be spread over two."""
    found = 0
    for node in ray.nodes():
        if node["Alive"]:
            here = math.floor(node["Resources"].get("CPU", 0.0) / cpus)
            found += (
                min(here, math.floor(node["Resources"].get("GPU", 0.0) / gpus)) if gpus else here
            )
    return found


def _check(
    fits: int, settings: StudySettings, recipe: Experiment, have: str, each: float, each_gpu: float
) -> None:
    wanted, workers = settings.resources, recipe.resources.workers
    trial = f"{each:g} logical CPUs" + (f" and {workers * each_gpu:g} GPUs" if each_gpu else "")
    if fits < 1:
        raise ResourceError(
            f"a trial needs {trial} (and {DECODE_CPUS:g} CPU is for decoding), but the cluster has {have}; lower "
            "study.resources.cpus, study.resources.gpus or resources.workers, or set resources.autoscaling=true"
        )
    if wanted.concurrent is not None and wanted.concurrent > fits:
        raise ResourceError(
            f"study.resources.concurrent={wanted.concurrent} trials of {trial} do not fit into {have}: {fits} would; "
            "lower it, or study.resources.cpus"
        )
