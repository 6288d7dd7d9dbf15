"""What a run is doing, whatever it could still write down."""

import json
import os
import socket
import subprocess
import sys
import time

import fsspec
import pytest

from manta.errors import RunError
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease, status

TAKE = """
import sys
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease

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
        [sys.executable, "-c", TAKE, folder.url], stdin=subprocess.PIPE
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


@pytest.fixture(params=["disk", "bucket"])
def anywhere(request, tmp_path):
    """A run's folder that is not there yet, on a disk and in a bucket."""
    store = fsspec.filesystem("memory")
    if store.exists("/anywhere"):
        store.rm("/anywhere", recursive=True)
    return RunFolder(tmp_path / "run" if request.param == "disk" else "memory://anywhere/run")


def test_files_of_a_run(anywhere):
    assert anywhere.list() == []
    assert not anywhere.exists("run.json")
    anywhere.update_json({"name": "run", "steps": 1}, "run.json")
    anywhere.update_json({"steps": 2}, "run.json")
    assert anywhere.read_json("run.json") == {"name": "run", "steps": 2}
    anywhere.write(b"a", "checkpoints", "step-1", "weights")
    assert anywhere.list() == ["checkpoints", "run.json"]
    assert anywhere.list("checkpoints") == ["step-1"]
    assert anywhere.list("checkpoints", "step-2") == []
    anywhere.remove("checkpoints", "step-1")
    assert anywhere.list("checkpoints") == []
    with pytest.raises(FileNotFoundError):
        anywhere.read("checkpoints", "step-1", "weights")


def test_two_spellings_of_a_bucket_are_one_folder(tmp_path):
    assert RunFolder("memory://a/b/").url == RunFolder("memory:///a/b").url
    assert RunFolder(f"file://{tmp_path}/x").url == RunFolder(f"{tmp_path}/x/").url
    assert RunFolder(tmp_path / "x").url_of("a", "b") == f"{tmp_path}/x/a/b"


def test_the_folder_of_a_bucket_is_not_on_this_machine(tmp_path):
    assert RunFolder(tmp_path).local == tmp_path
    with pytest.raises(RunError, match="copy it here first"):
        _ = RunFolder("memory://test-folder/run").local


def test_a_resume_sweeps_what_a_killed_attempt_was_writing(folder):
    draft = folder.local / ".metrics.jsonl.0123abcd.part"
    draft.write_text("half")
    Lease.take(folder)
    assert sorted(os.listdir(folder.local)) == ["lease.json", "run.json"]


def test_the_older_attempt_stops(folder):
    older = Lease.take(folder)
    older.verify()
    newer = Lease.take(folder)
    newer.verify()
    older.verify(at_most_every=60)  # too soon to look again
    with pytest.raises(RunError, match=f"taken over by process {os.getpid()} on"):
        older.verify()
