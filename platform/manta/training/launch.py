"""Ray: attach to a cluster or start one here, and check that what is asked for can ever be had."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import ray

from manta.config import Experiment
from manta.errors import ResourceError

DECODE_CPUS = 0.5
"""Logical CPUs of one decode task."""
SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # `report` and the end of a run wait for a poll (default 2 s)
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",  # idle workers start while training does, on the same cores
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # keep the user's CUDA_VISIBLE_DEVICES in processes without a GPU
}


@dataclass(frozen=True, slots=True)
class Allotment:
    """What each worker gets."""

    workers: int
    gpu: bool
    cpus: float
    threads: int
    decode_tasks: int


def connect(*, cpus: float = 0.0) -> None:
    """Attach to `RAY_ADDRESS`, or start a local cluster with at least `cpus` logical CPUs. Idempotent.

    Raises:
        ResourceError: nothing listens at `RAY_ADDRESS`.
    """
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": True, "logging_level": "ERROR"}
    if address:
        _probe(address)
        ray.init(address=address, **options)
        return
    # Logical CPUs, not physical ones: a training worker computes while decode tasks wait for it.
    logical = max(4, 2 * (os.cpu_count() or 1), math.ceil(cpus))
    ray.init(address="local", num_cpus=logical, include_dashboard=False, **options)


def allot(experiment: Experiment) -> Allotment:
    """Divide the cluster among a run's workers; Ray must be connected.

    Raises:
        ResourceError: it can never fit; the message says what to change. Ray would hang without a word.
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
    # Training on CPUs shares the cores with decoding, and one task feeds it; a GPU wants all that are free.
    most = cores if gpu else max(cores // 4, 1)
    tasks = experiment.data.decode_tasks or max(min(int(spare / DECODE_CPUS / wanted.workers), most), 1)
    return Allotment(wanted.workers, gpu, each, threads, tasks)


def logical_cpus(experiment: Experiment) -> float:
    """What a local cluster must have for this run."""
    wanted = experiment.resources
    tasks = experiment.data.decode_tasks or 1
    return wanted.workers * (wanted.cpus_per_worker or 1.0) + wanted.workers * tasks * DECODE_CPUS + 1


def _probe(address: str) -> None:
    """Ray waits for minutes for a dead address; a socket knows at once."""
    if address in ("auto", "local"):
        return
    parsed = urlparse(address if "://" in address else f"ray://{address}")
    try:
        with socket.create_connection((parsed.hostname or "", parsed.port or 6379), timeout=5):
            pass
    except OSError as error:
        raise ResourceError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start it, or unset RAY_ADDRESS to run here"
        ) from None
