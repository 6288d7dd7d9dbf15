"""The files for clusters: valid by Ray's own schema, and safe by ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "jobs" / "kuberay" / "pretrain.yaml").read_text())


def test_ray_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(cluster))


def test_ray_would_refuse_an_unknown_key(cluster: dict[str, Any]) -> None:
    """The test above can fail."""
    from jsonschema import ValidationError

    with pytest.raises(ValidationError, match="min_wrokers"):
        validate_config(prepare_config({**cluster, "min_wrokers": 1}))


def test_the_head_computes_nothing_and_drives_trials(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert head["resources"]["trial_driver"] > 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_come_and_go(cluster: dict[str, Any]) -> None:
    workers = {
        k: v for k, v in cluster["available_node_types"].items() if k != cluster["head_node_type"]
    }
    assert {worker["labels"]["role"] for worker in workers.values()} == {"gpu", "cpu"}
    assert workers["gpu_spot"]["min_workers"] == 0  # what costs most is there only while it is used
    assert all(worker["min_workers"] < worker["max_workers"] for worker in workers.values())
    assert sum(worker["max_workers"] for worker in workers.values()) <= cluster["max_workers"]
    assert workers["gpu_spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_every_node_runs_one_image(cluster: dict[str, Any]) -> None:
    """Ray requires the same Python, to the patch, on every node."""
    assert (
        len({kind["node_config"]["ImageId"] for kind in cluster["available_node_types"].values()})
        == 1
    )


def test_ray_is_started_with_a_token_and_behind_the_tunnel(cluster: dict[str, Any]) -> None:
    starts = [
        command
        for part in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in cluster[part]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in c and "RAY_USAGE_STATS_ENABLED=0" in c for c in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "0.0.0.0" not in yaml.safe_dump(cluster)
    assert cluster["provider"]["use_internal_ips"] is True


def test_what_is_installed_is_pinned(cluster: dict[str, Any]) -> None:
    """Ray's default set-up installs a nightly wheel from a bucket; ours names no host, so pip's own
    index is used."""
    setup = "\n".join(
        cluster["setup_commands"]
        + cluster["head_setup_commands"]
        + cluster["worker_setup_commands"]
    )
    assert "requirements.lock" in setup
    prepared = prepare_config(cluster)
    assert prepared["setup_commands"] == cluster["setup_commands"]
    assert not re.search(r"wheels|https?://|--index-url|--extra-index", yaml.safe_dump(prepared))


def test_the_lock_pins_the_ray_that_the_files_name(rayjob: dict[str, Any]) -> None:
    pinned = re.search(
        r"^ray(?:\[[^\]]*\])?==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE
    )
    assert pinned is not None
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


def test_rayjob_runs_the_job_file_and_cleans_up(rayjob: dict[str, Any]) -> None:
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    spec = rayjob["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    words = spec["entrypoint"].split()
    assert words[0] == "python"
    for inside_the_image in words[1:3]:
        path = ROOT / inside_the_image.removeprefix("/home/ray/manta/")
        assert path.is_file(), path
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["MLFLOW_TRACKING_URI"].startswith(
        "http"
    )


def test_rayjob_asks_for_the_workers_it_trains_with(rayjob: dict[str, Any]) -> None:
    workers = int(re.search(r"resources\.workers=(\d+)", rayjob["spec"]["entrypoint"])[1])
    groups = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (
        sum(group["replicas"] for group in groups)
        == workers
        <= sum(group["maxReplicas"] for group in groups)
    )


def test_rayjob_spreads_one_pod_a_node(rayjob: dict[str, Any]) -> None:
    for group in rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        template = group["template"]
        (rule,) = template["spec"]["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert (
            rule["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        )
        (container,) = template["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_rayjob_head_takes_no_work_and_wants_a_token(rayjob: dict[str, Any]) -> None:
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    names = [group["template"]["spec"]["containers"][0] for group in cluster["workerGroupSpecs"]]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {container["image"] for container in [head, *names]} == {head["image"]}
    assert all(
        {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        for container in [head, *names]
    )
