"""Whose cluster it is: one that a script has joined itself is divided by its own CPUs."""

import os
import subprocess
import sys

SCRIPT = """
import ray
from manta.cluster import connect, is_own
from manta.tuning.trials.allocate import ClusterResources

ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
assert connect() is False
cluster = ClusterResources.connected()
assert (cluster.ours, cluster.cpus) == (False, 3.0), cluster
ray.shutdown()
assert connect(cpus=6) is True
assert is_own() and ClusterResources.connected().ours
print("both")
"""


def test_a_cluster_that_the_user_started_is_not_ours():
    # In a process of its own: this one may be connected to the cluster of other tests.
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1:] == ["both"], done.stderr
