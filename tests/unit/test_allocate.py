"""What a run's workers get of a cluster, and what is refused."""

import pytest

from manta.config import Experiment, from_mapping
from manta.errors import ResourceError
from manta.training import launch
from manta.training.launch import WorkerResources, allocate, logical_cpus


def experiment(**resources) -> Experiment:
    tasks = resources.pop("decode_tasks", None)
    return from_mapping(
        {
            "data": {"source": "digits", "decode_tasks": tasks},
            "objective": {"name": "dcl"},
            "resources": resources,
        }
    )


@pytest.fixture
def cluster(monkeypatch):
    """A function that says how large the cluster is that Ray reports."""

    def of(*, cpus: float, gpus: float = 0.0, nodes: int = 1, cores: int = 8) -> None:
        have = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        monkeypatch.setattr(launch.ray, "cluster_resources", lambda: have)
        alive = [{"Alive": True, "Resources": {}}] * nodes + [{"Alive": False, "Resources": {}}]
        monkeypatch.setattr(launch.ray, "nodes", lambda: alive)
        monkeypatch.setattr(launch.os, "cpu_count", lambda: cores)

    return of


def test_one_worker_on_cpus_shares_the_cores_with_decoding(cluster):
    cluster(cpus=8)
    assert allocate(experiment()) == WorkerResources(
        workers=1, gpu=False, cpus=1.0, threads=8, decode_tasks=2
    )


def test_threads_are_divided_among_the_workers_of_a_node(cluster):
    cluster(cpus=16, nodes=2)
    assert allocate(experiment(workers=4)).threads == 4
    assert allocate(experiment(workers=4, threads_per_worker=3)).threads == 3


def test_gpus_are_taken_where_there_are_enough(cluster):
    cluster(cpus=32, gpus=2, cores=32)
    two = allocate(experiment(workers=2))
    assert two.gpu
    assert two.decode_tasks > 8, "a GPU wants all that are free"
    assert not allocate(experiment(workers=4)).gpu
    assert not allocate(experiment(workers=2, gpu=False)).gpu
    with pytest.raises(ResourceError, match="needs 4 GPUs and the cluster has 2"):
        allocate(experiment(workers=4, gpu=True))


def test_what_can_never_fit_is_refused_with_what_to_change(cluster):
    cluster(cpus=2)
    with pytest.raises(ResourceError, match=r"workers=4 needs .* and the cluster has 2; lower"):
        allocate(experiment(workers=4))
    assert allocate(experiment(workers=4, autoscaling=True)).workers == 4
    with pytest.raises(ResourceError, match="8 a worker"):
        allocate(experiment(cpus_per_worker=8))


def test_decode_tasks_are_the_users_or_by_what_is_spare(cluster):
    cluster(cpus=8, cores=64)
    assert allocate(experiment(decode_tasks=7)).decode_tasks == 7
    spare = (8 - 1) / launch.DECODE_CPUS
    assert allocate(experiment()).decode_tasks == min(int(spare), 16)


def test_a_local_cluster_is_large_enough_for_the_run(cluster):
    for settings in ({}, {"workers": 4}, {"decode_tasks": 3}, {"cpus_per_worker": 2}):
        needed = logical_cpus(experiment(**settings))
        cluster(cpus=needed)
        assert allocate(experiment(**settings)).decode_tasks >= settings.get("decode_tasks", 1)
