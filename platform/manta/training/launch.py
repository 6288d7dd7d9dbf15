"""Division of a cluster's resources among the workers of a run."""

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
class WorkerResources:
    """Resources of each worker of a run.

    Attributes:
        workers: number of workers.
        gpu: whether each worker has a GPU.
        cpus: logical CPUs of each worker.
        threads: torch threads of each worker.
        decode_tasks: decode tasks at a time for each worker.
    """

    workers: int
    gpu: bool
    cpus: float
    threads: int
    decode_tasks: int


def allocate(experiment: Experiment) -> WorkerResources:
    """Return each worker's resources on the cluster that Ray is connected to.

    Raises:
        ResourceError: the run can never fit; the message says what to change. Ray itself would wait
            for ever without a message.
    """
    required = experiment.resources
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    gpu = gpus >= required.workers if required.gpu == "auto" else bool(required.gpu)
    if gpu and gpus < required.workers and not required.autoscaling:
        raise ResourceError(
            f"resources.workers={required.workers} with resources.gpu=true needs "
            f"{required.workers} GPUs and the cluster has {gpus:g}; lower resources.workers, or "
            "set resources.gpu=auto"
        )
    each = required.cpus_per_worker or 1.0
    needed = required.workers * each + DECODE_CPUS
    if needed > cpus and not required.autoscaling:
        raise ResourceError(
            f"resources.workers={required.workers} needs {needed:g} logical CPUs ({each:g} a "
            f"worker and {DECODE_CPUS:g} for decoding) and the cluster has {cpus:g}; lower "
            "resources.workers or resources.cpus_per_worker"
        )
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    cores = os.cpu_count() or 1
    on_a_node = max(math.ceil(required.workers / max(nodes, 1)), 1)
    threads = required.threads_per_worker or max(cores // on_a_node, 1)
    spare = max(cpus - required.workers * each, DECODE_CPUS)
    # Training on CPUs shares the cores with decoding and is slow enough that few tasks keep up with
    # it; a GPU needs all the decode tasks that fit.
    most = cores if gpu else max(cores // 4, 1)
    fitting = min(int(spare / DECODE_CPUS / required.workers), most)
    tasks = experiment.data.decode_tasks or max(fitting, 1)
    return WorkerResources(required.workers, gpu, each, threads, tasks)


def logical_cpus(experiment: Experiment) -> float:
    """Return the number of logical CPUs that a local cluster needs for this run."""
    required = experiment.resources
    training = required.workers * (required.cpus_per_worker or 1.0)
    decoding = required.workers * (experiment.data.decode_tasks or 1) * DECODE_CPUS
    # One more, as a reserve for short tasks beside these two.
    return training + decoding + 1
