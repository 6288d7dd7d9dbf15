"""A write that finds no room, or may not be made, is one line that says where and what to do.

Real refusals: a limit of the size of files and a small disk, in processes of their own; a
file in the way.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manta import disk
from manta.errors import DiskFull, MantaError, ResourceError
from manta.files import Place
from manta.runs.checkpoint import Checkpoints
from manta.runs.folder import RunFolder
from manta.runs.store import write_summary

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from pathlib import Path
import torch
from manta.errors import DiskFull
from manta.runs.checkpoint import Checkpoints, Snapshot, new_manifest
from manta.runs.folder import RunFolder

checkpoints = Checkpoints(RunFolder(sys.argv[1]), None)
for step, numbers in ((1, 10), (2, 100_000)):
    manifest = new_manifest(step, steps_per_epoch=1, total_steps=2, fingerprint="f", run_id=None,
                            metrics={})
    checkpoints.save(Snapshot(step, {"w": torch.zeros(numbers)}, {"extra": {}}), manifest)
try:
    checkpoints.wait()
except DiskFull as error:
    print(error)
"""


def test_a_checkpoint_without_room_leaves_the_last_whole_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "would be larger than a file may be here; raise the limit (ulimit -f unlimited)" in line
    assert f"{tmp_path}/checkpoints/step-00000002/weights.safetensors" in line
    newest = Checkpoints(RunFolder(tmp_path), None).latest()
    assert newest is not None
    assert newest.step == 1
    # The half of the other would take the room that the resumed run needs.
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000001"]


SMALL_DISK = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, safetensors.numpy, sqlite3, torch
from manta.disk import out_of_room

def database(path):
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE t (b BLOB)")
        store.execute("INSERT INTO t VALUES (?)", [bytes(1 << 20)])

WRITES = {
    "bytes": lambda path: Path(path).write_bytes(bytes(1 << 20)),
    "numpy": lambda path: np.save(path, np.zeros(1 << 18)),
    "safetensors": lambda path: safetensors.numpy.save_file({"a": np.zeros(1 << 18)}, path),
    "torch": lambda path: torch.save({"a": torch.zeros(1 << 18)}, path),
    "parquet": lambda path: pq.write_table(pa.table({"a": np.random.rand(1 << 18)}), path),
    "sqlite": database,
}
for name, write in WRITES.items():
    path = Path(sys.argv[1], name + ".npy")
    try:
        write(str(path))
    except Exception as error:
        print(name, "|", out_of_room(error, path))
    path.unlink(missing_ok=True)
"""


def on_a_small_disk(folder: Path, code: str, size: str) -> list[str]:
    """Run code in a process that alone sees a disk of this size at `folder`; return its lines."""
    mount = f'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", code, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0 and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"no disk may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_library_s_error_of_a_full_disk_is_known(tmp_path: Path) -> None:
    said = dict(line.split(" | ") for line in on_a_small_disk(tmp_path, SMALL_DISK, "256k"))
    assert set(said) == {"bytes", "numpy", "safetensors", "torch", "parquet", "sqlite"}
    for line in said.values():
        assert line.startswith("the disk is full: "), said
        assert f"of 256.0 KiB free at {tmp_path}; make room there" in line


STORE = """
import subprocess, sys
from manta.errors import TrackingError
from manta.tracking import Tracker

for size in ("300k", "20m"):
    subprocess.run(["mount", "-o", f"remount,size={size}", sys.argv[1]], check=True)
    try:
        tracker = Tracker(runs_dir=sys.argv[1] + "/runs")
        print(bool(tracker.create_run("one", config={"a": 1})))
    except TrackingError as error:
        print(error)
"""


def test_a_store_that_found_no_room_is_made_once_there_is(tmp_path: Path) -> None:
    refused, made = on_a_small_disk(tmp_path, STORE, "300k")
    assert "mlflow.db: the disk is full: " in refused
    assert refused.endswith("make room there, then the same command goes on")
    assert made == "True"


STUDY = """
import subprocess, sys
from pathlib import Path
from manta.config import from_mapping
from manta.errors import DiskFull
from manta.tuning.space.read import read_space
from manta.tuning.study.metrics import metric
from manta.tuning.study.storage import open_storage
from manta.tuning.trials.search import SearchPlan, StudySearch

place = sys.argv[1]
recipe = from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}})
Path(place, "space.yaml").write_text("space: {optimizer.lr: {type: float, low: 1.0e-9, high: 9}}")
space, _ = read_space(Path(place, "space.yaml"), recipe)

def searcher():
    storage = open_storage(f"sqlite:///{place}/study.db")
    plan = SearchPlan("one", storage, "random", seed=0, trials=3, whole=1, place=place)
    return StudySearch(space, recipe, [metric("knn_top1")], plan)

search = searcher()
result = {"resource": 1, "values/knn_top1": 0.5, "done": True}
search.suggest("a"), search.suggest("b")
with open(f"{place}/fill", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
for end in (lambda: search.on_trial_complete("a", result), lambda: search.died("a", "gone")):
    try:
        end()
    except DiskFull as error:
        print(error)
Path(place, "fill").unlink()
print(searcher().left, [trial.state.name for trial in searcher().study.trials])
again = searcher()
numbers = [again.suggest(name)["number"] for name in "abc"]
again.on_trial_complete("a", result)
try:
    again.on_trial_complete("b", {"failed": "DiskFull: the disk is full: at /x", "done": True})
except DiskFull as error:
    print(error)
print(numbers, [trial.state.name for trial in searcher().study.trials])
"""


def test_a_study_that_found_no_room_goes_on_with_the_trials_that_it_had(tmp_path: Path) -> None:
    """Neither a full database nor a trial without room for its files makes a failed trial."""
    first, again, left, trial, states = on_a_small_disk(tmp_path, STUDY, "300k")
    assert first == again
    assert first.startswith(f"the disk is full: 0 B of 300.0 KiB free at {tmp_path}; make room")
    assert left == "3 ['RUNNING', 'RUNNING']"
    assert trial == "the disk is full: at /x"
    assert states == "[0, 1, 2] ['COMPLETE', 'RUNNING', 'RUNNING']"


def test_a_full_disk_in_a_block_that_writes(tmp_path: Path) -> None:
    target = Place.of(tmp_path / "one.bin")

    def write_half() -> None:
        with target.writing() as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match=r"the disk is full: .* of .* free at .*; make room"):
        write_half()
    assert list(tmp_path.iterdir()) == [], "neither the file nor its draft is left"


def test_an_error_of_what_is_read_is_not_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), Place.of(tmp_path / "one").writing():
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")


@pytest.mark.parametrize(
    "write",
    [
        lambda place: place.write(b"x"),
        lambda place: place.parent.make(),
        lambda place: write_summary({"a": 1}, place.url),
    ],
)
def test_a_file_in_the_way_is_named(tmp_path: Path, write: Callable[[Place], object]) -> None:
    (tmp_path / "manta-runs").write_text("a file")
    with pytest.raises(ResourceError) as refused:
        write(Place.of(tmp_path / "manta-runs" / "one" / "run.json"))
    assert f"{tmp_path}/manta-runs is a file and not a folder" in str(refused.value)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EROFS, "cannot be written (read-only file system)"),
        (errno.EACCES, "cannot be written (permission denied)"),
        (errno.EDQUOT, "the disk quota of this user is used up"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_refusals_by_number(tmp_path: Path, number: int, text: str) -> None:
    with pytest.raises(MantaError) as refused, disk.writing_to(tmp_path / "runs"):
        raise OSError(number, os.strerror(number), str(tmp_path / "runs"))
    assert text in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk.writing_to(tmp_path):
        (tmp_path / "none").read_bytes()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert disk.size_text(size) == text
