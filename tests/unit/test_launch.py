"""What a start leaves out, and what Ctrl-C becomes. No cluster is needed."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from ray import cloudpickle
from ray.train import RunConfig
from ray.train.v2._internal.execution.controller import TrainController

from manta.cluster import interruptible
from manta.config import from_mapping
from manta.training.launch import WorkerResources
from manta.training.task import Task
from manta.training.trainer import LoneTrainer, enter, make_trainer

LOAD = """
import sys
from ray import cloudpickle
cloudpickle.loads(sys.stdin.buffer.read())
print(sorted({"torch", "torchvision", "timm", "mlflow"} & set(sys.modules)))
"""

TASK = Task(
    experiment=from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}}),
    dataset="d",
    folder="f",
    attempt="1",
    run_id="r",
    tracking_uri="u",
    started=0.0,
)


def trainer(tmp_path, *, workers: int = 1, gpu: bool = False, own_cluster: bool = True):
    resources = WorkerResources(workers, gpu, cpus=1.0, threads=2, decode_tasks=1)
    return make_trainer(
        TASK,
        resources,
        RunConfig(name="x", storage_path=str(tmp_path)),
        own_cluster=own_cluster,
    )


def callbacks(trainer) -> set[str]:
    return {type(callback).__name__ for callback in trainer._create_default_callbacks()}


def test_a_lone_worker_has_no_idle_processes_about_it(tmp_path):
    lone, usual = trainer(tmp_path), trainer(tmp_path, own_cluster=False)
    assert callbacks(usual) - callbacks(lone) == {
        "DatasetsCallback",
        "PlacementGroupCleanerCallback",
    }
    assert callbacks(lone) >= {"BackendSetupCallback", "AcceleratorSetupCallback"}
    assert lone.scaling_config.num_workers == 1
    assert lone.scaling_config.resources_per_worker == {"CPU": 1.0}


@pytest.mark.parametrize("changes", [{"workers": 2}, {"gpu": True}, {"own_cluster": False}])
def test_others_get_all_of_ray_train(tmp_path, changes):
    found = trainer(tmp_path, **changes)
    assert type(found).__name__ == "TorchTrainer"
    assert not isinstance(found, LoneTrainer)
    assert found.scaling_config.use_gpu is changes.get("gpu", False)


def test_neither_controller_nor_worker_imports_torch_to_begin_with(tmp_path):
    lone = trainer(tmp_path)
    loop = lone._get_train_func()
    sent = (TrainController, lone.train_run_context, lone._create_default_callbacks(), loop, enter)
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=cloudpickle.dumps(sent), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[]"


def fit(then: Callable[[], None]) -> None:
    """Leaves a handler behind as Ray Train does."""
    with interruptible():
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        then()


def fail() -> None:
    raise ValueError("mine")


def test_what_ray_train_makes_of_ctrl_c_does_not_stay():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(lambda: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="mine"):
        fit(fail)
    assert signal.getsignal(signal.SIGINT) is before
