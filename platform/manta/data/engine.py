"""Manta's use of Ray Data: ordered generator tasks, and no output of its own.

All settings of Ray Data are made here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.data import TaskPoolStrategy
from ray.exceptions import GetTimeoutError

from manta.errors import ResourceError

Work = Callable[[dict[str, Any]], Iterator[Any]]


def cluster_cpus() -> float:
    """Return the number of logical CPUs of the cluster; start Ray if it is not running."""
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    return float(ray.cluster_resources().get("CPU", 0.0))


def default_tasks(world: int = 1) -> int:
    """Return the number of decode tasks of one rank.

    Half of the cluster's CPUs are for decoding, shared among the ranks; the rest is for training.
    """
    return max(1, int(cluster_cpus()) // (2 * world))


def require_cpu(cpus: float, *, timeout: float = 60.0) -> None:
    """Check that a task of `cpus` CPUs can start.

    Without this check Ray Data would wait for ever, without a message (ray-project/ray#44687).

    Raises:
        ResourceError: no CPU became free within `timeout` seconds.
    """
    total = cluster_cpus()
    # Ray Data's tasks run outside the placement group of a Train worker. SPREAD puts the probe
    # there too; in the group it would wait for a CPU that the worker itself holds.
    probe = ray.remote(num_cpus=cpus, scheduling_strategy="SPREAD", max_retries=0)(_nothing)
    pending = probe.remote()
    try:
        # A cluster that is too small never has room, so there is nothing to wait for.
        ray.get(pending, timeout=timeout if total >= cpus else 0.1)
    except GetTimeoutError:
        ray.cancel(pending, force=True)
        raise ResourceError(
            f"no task of {cpus:g} CPU could start within {timeout:g} s on a cluster of {total:g} "
            "logical CPUs: all are held; start Ray with more CPUs (`ray start --num-cpus`), or "
            "lower resources.workers or cpus_per_worker"
        ) from None


def _nothing() -> None:
    return None


def generate(
    items: Sequence[dict[str, Any]], work: Work, *, block_bytes: int, cpus: float, tasks: int
) -> ray.data.Dataset:
    """Return a Ray Dataset that runs `work` as one generator task per item, in the items' order.

    Each row that `work` yields should be one bounded unit: Ray Data never splits a row, and rows of
    `block_bytes` or more become blocks of their own.
    """
    # One block per item, so that each item becomes a task of its own.
    dataset = ray.data.from_items(list(items), override_num_blocks=len(items))
    # The dataset's own copy: other datasets of this process keep their settings.
    context = dataset.context
    # Batches must not depend on which task is quickest.
    context.execution_options.preserve_order = True
    context.target_max_block_size = max(1, block_bytes)
    hush(context)
    # Not more tasks than items: Ray warns about a pool that is larger than its input.
    pool = TaskPoolStrategy(size=min(tasks, len(items)))
    return dataset.map_batches(work, batch_size=None, num_cpus=cpus, compute=pool)


def hush(context: ray.data.DataContext) -> None:
    """Keep Ray Data's output off the console; its log files still get it.

    Errors too: each is raised as well, and would be printed twice, with Ray's own frames.
    """
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL + 1)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
