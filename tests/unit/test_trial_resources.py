"""What trials get of a cluster, of which the resources are given here."""

from __future__ import annotations

from typing import Any

import pytest

from manta.cluster import DECODE_CPUS
from manta.config import Experiment, from_mapping
from manta.errors import ConfigError, MantaError, ResourceError
from manta.tuning.study.settings import StudySettings, settings_from
from manta.tuning.trials.allocate import (
    DRIVER_CPUS,
    ClusterResources,
    TrialResources,
    allocate,
    check_reach,
)


def cluster(*nodes: dict[str, float], cores: int = 4, ours: bool = False) -> ClusterResources:
    total = {key: sum(node.get(key, 0.0) for node in nodes) for key in ("CPU", "GPU")}
    return ClusterResources(total["CPU"], total["GPU"], list(nodes), cores, ours)


def recipe(**resources: Any) -> Experiment:
    return from_mapping(
        {"data": {"source": "digits"}, "objective": {"name": "dcl"}, "resources": resources}
    )


def settings(**section: Any) -> StudySettings:
    return settings_from(section)


def test_as_many_as_fit_beside_decoding_and_no_more_than_trials() -> None:
    nodes = cluster({"CPU": 8.0})
    assert allocate(settings(), recipe(), nodes).concurrent == int(8 - DECODE_CPUS)
    assert allocate(settings(trials=3), recipe(), nodes).concurrent == 3
    two = {"cpus": 2.0}
    assert allocate(settings(resources=two), recipe(), nodes).concurrent == (
        int((8 - DECODE_CPUS) / 2)
    )


def test_on_this_machine_alone_no_more_than_cores() -> None:
    own = cluster({"CPU": 16.0}, cores=4, ours=True)
    share = allocate(settings(), recipe(), own)
    assert (share.concurrent, share.threads) == (4, 1)
    one = allocate(settings(resources={"concurrent": 1}), recipe(), own)
    assert (one.concurrent, one.threads) == (1, 4)
    assert allocate(settings(), recipe(threads_per_worker=3), own).threads == 3


def test_on_a_cluster_a_worker_has_the_threads_of_its_cpus() -> None:
    share = allocate(settings(resources={"cpus": 3.0}), recipe(), cluster({"CPU": 16.0}))
    assert share.threads == 3
    assert share.request == {"CPU": 3.0, "GPU": 0.0}


def test_gpus_are_used_where_there_are_any() -> None:
    nodes = cluster({"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0})
    whole = allocate(settings(), recipe(), nodes)
    assert (whole.gpus, whole.concurrent) == (1.0, 2)
    half = allocate(settings(resources={"gpus": 0.5}), recipe(), nodes)
    assert (half.gpus, half.concurrent) == (0.5, 4)
    assert allocate(settings(), recipe(gpu=False), nodes).gpus == 0.0


def test_a_worker_is_not_spread_over_nodes() -> None:
    small = [{"CPU": 3.0}] * 4
    share = allocate(settings(resources={"cpus": 2.0}), recipe(), cluster(*small))
    assert share.concurrent == 4, "five would fit if the twelve CPUs were in one place"


def test_workers_of_a_trial_ask_for_their_own() -> None:
    share = allocate(settings(), recipe(workers=2), cluster({"CPU": 8.0}))
    assert share.request == {"CPU": DRIVER_CPUS}
    assert (share.workers, share.cpus) == (2, 1.0)
    assert share.concurrent == int((8 - DECODE_CPUS) / (2 + DRIVER_CPUS))


def test_under_pbt_a_request_keeps_more_trials_from_running() -> None:
    pbt = settings(scheduler="pbt", resources={"concurrent": 2})
    share = allocate(pbt, recipe(), cluster({"CPU": 9.0}))
    assert share.request["CPU"] == (9 - DECODE_CPUS) / 2
    assert 3 * share.request["CPU"] > 9


def test_memory_is_in_bytes() -> None:
    share: TrialResources = allocate(
        settings(resources={"memory_gib": 1.5}), recipe(), cluster({"CPU": 4.0})
    )
    assert share.memory == 3 << 29
    assert allocate(settings(), recipe(), cluster({"CPU": 4.0})).memory is None


@pytest.mark.parametrize(
    ("section", "resources", "error", "message"),
    [
        ({"resources": {"cpus": 64}}, {}, ResourceError, "a trial needs 64 .* lower study.res"),
        ({"resources": {"gpus": 1}}, {}, ResourceError, "and 1 GPUs .* the cluster has 8 logical"),
        (
            {"resources": {"concurrent": 50}},
            {},
            ResourceError,
            "concurrent=50 trials of 1 logical CPUs do not fit .*lower it, or study.resources.cpus",
        ),
        ({}, {"autoscaling": True}, ConfigError, "must say how many trials run at once"),
        ({"resources": {"memory_gib": 1}}, {"workers": 2}, ConfigError, "trials of one worker"),
    ],
)
def test_what_can_never_be_had_is_refused(
    section: dict[str, Any], resources: dict[str, Any], error: type[MantaError], message: str
) -> None:
    with pytest.raises(error, match=message):
        allocate(settings(**section), recipe(**resources), cluster({"CPU": 8.0}))


def test_an_autoscaling_cluster_may_be_empty_yet() -> None:
    many = settings(resources={"concurrent": 50})
    share = allocate(many, recipe(autoscaling=True), cluster({"CPU": 1.0}))
    assert share.concurrent == 50


def test_a_file_on_this_machine_is_no_store_for_a_cluster() -> None:
    with pytest.raises(ResourceError, match=r"the cluster has 2 nodes.*MLFLOW_TRACKING_URI"):
        check_reach("sqlite:////tmp/mlflow.db", 2)
    check_reach("sqlite:////tmp/mlflow.db", 1)
    check_reach("http://mlflow:5000", 2)
