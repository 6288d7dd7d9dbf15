"""Ray Train around the loop, with a quick start."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import ray.data
from ray import cloudpickle
from ray.train import RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from manta.cluster import DECODE_CPUS
from manta.training.launch import WorkerResources

if TYPE_CHECKING:  # the task brings torch, and the controller imports this module
    from manta.training.task import Task


class LoneTrainer(DataParallelTrainer):
    """Trainer of one worker on a CPU of a cluster that ends with this process.

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
    task: Task, resources: WorkerResources, config: RunConfig, *, own_cluster: bool
) -> Any:
    """Return a trainer whose `fit` runs the loop on every worker.

    Args:
        own_cluster: Ray was started by this process, as `connect` returned.
    """
    each = {"CPU": resources.cpus} | ({"GPU": 1} if resources.gpu else {})
    scaling = ScalingConfig(
        num_workers=resources.workers, use_gpu=resources.gpu, resources_per_worker=each
    )
    # Not as `train_loop_config`, which the controller unpickles too: it would import torch for it.
    # Pickled here, so that a worker starts its helpers before it imports what the task is made of.
    loop = partial(enter, cloudpickle.dumps(task))
    options = {"scaling_config": scaling, "run_config": config}
    if own_cluster and resources.workers == 1 and not resources.gpu:
        return LoneTrainer(loop, **options)
    from ray.train.torch import TorchTrainer

    return TorchTrainer(loop, **options)


def enter(pickled: bytes) -> dict[str, Any] | None:
    """Run the task in a worker, while processes that decode start; return the run's numbers.

    Args:
        pickled: a `Task`.
    """
    threading.Thread(target=_warm_up, name="manta-warm-up", daemon=True).start()
    from manta.training.loop import train_loop

    return train_loop(cloudpickle.loads(pickled))


def _warm_up() -> None:
    """Start what Ray Data's first dataset waits for.

    It is an actor of Ray Data's own, and a process whose imports take longest.
    """
    ray.data.from_items([0]).map_batches(
        _import_decoder, batch_size=None, num_cpus=DECODE_CPUS
    ).materialize()


def _import_decoder(batch: Any) -> Any:
    import manta.data.stream  # noqa: F401

    return batch
