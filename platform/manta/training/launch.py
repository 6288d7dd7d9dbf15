"""Ray: attach to a cluster or start one here, and check that what is asked for can ever be had."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from manta.cluster import DECODE_CPUS
from manta.errors import ResourceError

if TYPE_CHECKING:  # workers import this module first, and the configuration brings torch
    from manta.config import Experiment


@dataclass(frozen=True, slots=True)
class Allotment:
    """What each worker gets."""

    workers: int
    gpu: bool
    cpus: float
    threads: int
    decode_tasks: int


def allot(experiment: Experiment) -> Allotment:
    """Divide the cluster among a run's workers; Ray must be connected.

    Raises:
        ResourceError: it can never fit; the message says what to change. Ray would hang without a
            word.
    """
    wanted = experiment.resources
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    gpu = gpus >= wanted.workers if wanted.gpu == "auto" else bool(wanted.gpu)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpu and gpus < wanted.workers and not wanted.autoscaling:
        raise ResourceError(
            f"resources.workers={wanted.workers} with resources.gpu=true needs {wanted.workers} GPUs and the cluster "
            f"has {gpus:g}; lower resources.workers, or set resources.gpu=auto"
        )
    each = wanted.cpus_per_worker or 1.0
    needed = wanted.workers * each + DECODE_CPUS
    if needed > cpus and not wanted.autoscaling:
        raise ResourceError(
            f"resources.workers={wanted.workers} needs {needed:g} logical CPUs ({each:g} a worker and {DECODE_CPUS:g} "
            f"for decoding) and the cluster has {cpus:g}; lower resources.workers or resources.cpus_per_worker"
        )
    cores = os.cpu_count() or 1
    here = max(math.ceil(wanted.workers / max(len(nodes), 1)), 1)
    threads = wanted.threads_per_worker or max(cores // here, 1)
    spare = max(cpus - wanted.workers * each, DECODE_CPUS)
    # Training on CPUs shares the cores with decoding, and one task feeds it; a GPU wants all that
    # are free.
    most = cores if gpu else max(cores // 4, 1)
    tasks = experiment.data.decode_tasks or max(
        min(int(spare / DECODE_CPUS / wanted.workers), most), 1
    )
    return Allotment(wanted.workers, gpu, each, threads, tasks)


def logical_cpus(experiment: Experiment) -> float:
    """What a local cluster must have for this run."""
    wanted = experiment.resources
    tasks = experiment.data.decode_tasks or 1
    return (
        wanted.workers * (wanted.cpus_per_worker or 1.0) + wanted.workers * tasks * DECODE_CPUS + 1
    )
