"""Ray Train around the loop, and what makes its start quick."""

from __future__ import annotations

import threading
from typing import Any

import ray.data
from ray.train import RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from manta.cluster import DECODE_CPUS
from manta.training.launch import Allotment


class LoneTrainer(DataParallelTrainer):
    """For one worker on a CPU of a cluster that ends with this process.

    A start on two cores is as long as the work of all the processes in it, and each of Ray Train's
    costs more than a second. This leaves out the process group of one, for which the controller
    would import torch; the actor that splits datasets, since the loop streams its own; and the one
    that frees what a dead controller held.
    """

    def _create_default_callbacks(self) -> list[Any]:
        idle = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, idle)
        ]


def make_trainer(
    task: dict[str, Any], allotment: Allotment, config: RunConfig, *, own_cluster: bool
) -> Any:
    """A trainer whose `fit` runs the loop on every worker.

    Args:
        task: `loop.Task` as plain data.
        own_cluster: what `connect` returned.
    """
    resources = {"CPU": allotment.cpus} | ({"GPU": 1} if allotment.gpu else {})
    scaling = ScalingConfig(
        num_workers=allotment.workers, use_gpu=allotment.gpu, resources_per_worker=resources
    )
    options = {"train_loop_config": task, "scaling_config": scaling, "run_config": config}
    if own_cluster and allotment.workers == 1 and not allotment.gpu:
        return LoneTrainer(enter, **options)
    from ray.train.torch import TorchTrainer

    return TorchTrainer(enter, **options)


def enter(task: dict[str, Any]) -> dict[str, Any] | None:
    """What a worker is told to run. Processes that decode start while it imports and builds."""
    threading.Thread(target=_warm_up, name="manta-warm-up", daemon=True).start()
    from manta.training.loop import train_loop

    return train_loop(task)


def _warm_up() -> None:
    """Ray Data's first dataset waits for an actor of its own and for a process, whose imports take
    longest."""
    ray.data.from_items([0]).map_batches(
        _import_decoder, batch_size=None, num_cpus=DECODE_CPUS
    ).materialize()


def _import_decoder(batch: Any) -> Any:
    import manta.data.stream  # noqa: F401

    return batch
