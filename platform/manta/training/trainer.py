"""Ray Train's trainer around the training loop, tuned for a quick start."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import ray.data
from ray import cloudpickle
from ray.train import RunConfig, ScalingConfig, UserCallback
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from manta.cluster import DECODE_CPUS
from manta.training.launch import WorkerResources
from manta.training.mistakes import raised_on_purpose

if TYPE_CHECKING:  # the task imports torch, and Ray Train's controller imports this module
    from manta.training.task import Task


class LoneTrainer(DataParallelTrainer):
    """Trainer of a single CPU worker, on a cluster that ends with this process.

    On two cores the start takes as long as the work of all processes in it together, and each of
    Ray Train's costs more than a second. This trainer leaves out three of them: the process group
    of one rank, for which the controller would import torch; the actor that splits datasets, since
    the loop has its own stream; and the actor that frees the resources of a dead controller, since
    the cluster ends anyway.
    """

    def _create_default_callbacks(self) -> list[Any]:
        idle = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, idle)
        ]


class EndAtOnce(UserCallback):
    """Callback that ends a run of several workers at an error that another start would meet again.

    A lone worker returns such an error; one of several has to raise it, so that Ray stops the
    others.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise what a worker raised on purpose, which Ray does not retry.

        Raises:
            MantaError: one of the exceptions is one.
        """
        mine = raised_on_purpose(worker_exceptions)
        if mine is not None:
            raise mine


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
    # The task is not passed as `train_loop_config`, which the controller would unpickle, importing
    # torch. As bytes it is unpickled in the worker only, after `enter` has started the helpers.
    loop = partial(enter, cloudpickle.dumps(task))
    options = {"scaling_config": scaling, "run_config": config}
    if own_cluster and resources.workers == 1 and not resources.gpu:
        return LoneTrainer(loop, **options)
    from ray.train.torch import TorchTrainer

    return TorchTrainer(loop, **options)


def enter(pickled: bytes) -> dict[str, Any] | None:
    """Run the task in a worker while its decode processes start; return the run's numbers.

    Args:
        pickled: a `Task`.
    """
    threading.Thread(target=_warm_up, name="manta-warm-up", daemon=True).start()
    from manta.training.loop import train_loop

    return train_loop(cloudpickle.loads(pickled))


def _warm_up() -> None:
    """Start the two things for which the first Ray Dataset would wait.

    These are an actor of Ray Data, and a worker process, whose imports take longest.
    """
    ray.data.from_items([0]).map_batches(
        _import_decoder, batch_size=None, num_cpus=DECODE_CPUS
    ).materialize()


def _import_decoder(batch: Any) -> Any:
    import manta.data.stream  # noqa: F401

    return batch
