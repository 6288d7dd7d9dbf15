"""What a run is doing, whatever it could still write down."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from manta.runs.folder import Lease, RunFolder, status

TAKE = """
import sys
from manta.runs.folder import Lease, RunFolder

Lease.take(RunFolder(sys.argv[1]))
input()
"""


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_json({"name": "run", "status": "running"}, "run.json")
    return folder


def test_a_run_of_this_process_is_running(folder):
    assert (
        status(folder) == "running"
    )  # nobody has ever taken the lease: run.json is all that is known
    Lease.take(folder)
    assert status(folder) == "running"


@pytest.mark.parametrize("word", ["finished", "stopped", "failed"])
def test_what_a_run_wrote_at_its_end_stands(folder, word):
    folder.write_json(
        {"host": socket.gethostname(), "pid": 2**22 + 1, "time": 0.0, "attempt": "a"}, Lease.FILE
    )
    folder.update_json({"status": word}, "run.json")
    assert status(folder) == word


def test_a_killed_process_is_seen(folder):
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, folder.path], stdin=subprocess.PIPE
    ) as driver:
        while not folder.exists(Lease.FILE):
            assert driver.poll() is None
            time.sleep(0.02)
        assert folder.read_json(Lease.FILE)["pid"] == driver.pid
        assert status(folder) == "running"
        driver.kill()
        os.waitid(
            os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT
        )  # dead, and its parent has not looked yet
        assert status(folder) == "interrupted"
    assert status(folder) == "interrupted"
    Lease.take(folder)  # as a resume does
    assert status(folder) == "running"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"time": 1e9},
            "interrupted",
        ),  # this process is younger than the lease: the id was given away again
        ({"host": "another-machine", "pid": 2**22 + 1}, "running"),
        ({"pid": 2**22 + 1}, "interrupted"),  # beyond the largest id that Linux gives
    ],
)
def test_ids_mean_something_on_their_own_machine_and_in_their_time(folder, change, expected):
    Lease.take(folder)
    folder.update_json(change, Lease.FILE)
    assert status(folder) == expected


def test_a_run_in_a_bucket(folder):
    bucket = RunFolder("memory://test-folder/run")
    bucket.write(folder.read("run.json"), "run.json")
    Lease.take(bucket)
    assert status(bucket) == "running"
    bucket.write(json.dumps(bucket.read_json(Lease.FILE) | {"pid": 2**22 + 1}).encode(), Lease.FILE)
    assert status(bucket) == "interrupted"
