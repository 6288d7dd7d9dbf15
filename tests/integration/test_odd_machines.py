"""Machines as people have them: a full disk, no home, a long temporary folder, little shared
memory, a proxy; and a component that fails in a task of Ray. Each works, or says in one line what
to do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import TINY, manta, metrics

MANTA = shlex.join([sys.executable, "-m", "manta.cli"])
SOURCE = '''
from manta.data import SOURCES, Sample, Source


@SOURCES.register("archive")
class Archive(Source):
    """A source with a mistake in it."""

    kind = "archive"

    @classmethod
    def claim(cls, place) -> int:
        return 2 if place.suffix == ".npz" else 0

    def units(self):
        yield from range(3)

    def read(self, unit):
        yield Sample("row 0", {}["no such key"])
'''
MISTAKE = SOURCE.splitlines().index('        yield Sample("row 0", {}["no such key"])') + 1


def in_a_namespace(folder: Path, script: str, env: dict[str, str]) -> str:
    """Run a shell script that may mount disks nobody else sees; return all that it printed."""
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    if "unshare:" in done.stdout or "mount:" in done.stdout:
        pytest.skip(f"no disk may be mounted here: {done.stdout.strip()[:200]}")
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_mistake_in_a_task_is_one_line_and_a_file(tmp_path: Path) -> None:
    site = tmp_path / "site"
    about = site / "my_manta-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "my_archive.py").write_text(SOURCE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-manta\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[manta.sources]\narchive = my_archive\n")
    (tmp_path / "images.npz").write_bytes(b"")
    paths = os.pathsep.join([str(site), *filter(None, sys.path)])
    done = manta(tmp_path, "ingest", "images.npz", "out", env={"PYTHONPATH": paths}, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    code = re.escape(str(site / "my_archive.py"))
    pattern = (
        rf"error: .* failed: KeyError: 'no such key' \({code}:{MISTAKE}\) \(whole traceback: (.*)\)"
    )
    match = re.fullmatch(pattern, line)
    assert match is not None, line
    whole = Path(match[1]).read_text()
    assert "read_unit" in whole
    assert f'my_archive.py", line {MISTAKE}' in whole
    Path(match[1]).unlink()


def test_a_machine_without_anything_usual(tmp_path: Path) -> None:
    """No HOME, no name, a TMPDIR that is too long and not there, 64 MiB of shared memory, a proxy,
    an ASCII terminal of 20 columns, few files."""
    long = tmp_path / ("long" * 20)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(long),
        "LC_ALL": "C",
        "COLUMNS": "20",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    said = in_a_namespace(
        tmp_path,
        "mount -t tmpfs -o size=64m tmpfs /dev/shm && umask 077 && ulimit -n 1024 && "
        f"{MANTA} ingest digits digits.manta < /dev/null",
        env,
    )
    assert "is too long a path for Ray's sockets" in said
    assert "only 64.0 MiB free at /dev/shm (docker run --shm-size=8g)" in said
    assert "Traceback" not in said
    assert json.loads((tmp_path / "digits.manta/manifest.json").read_text())["rows"] == 1797


@pytest.mark.long
def test_a_full_disk_ends_training_in_one_line_and_the_run_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = [*TINY, "train.epochs=2", "train.checkpoint_every=5"]
    command = f"{MANTA} {shlex.join(['train', 'digits', *settings, '--name', 'one'])}"
    said = in_a_namespace(
        tmp_path,
        f"mount -t tmpfs -o size=150m tmpfs {disk} && cd {disk} && "
        # Room for two checkpoints beside the data, and half a third.
        f"{{ {command}; echo status $?; ls manta-runs/one/checkpoints/*/manifest.json; "
        f"mount -o remount,size=600m {disk}; {command} --resume; echo status $?; "
        f"cp -r manta-runs/one/metrics.jsonl manta-runs/one/run.json ..; }}",
        dict(os.environ),
    )
    (error,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert re.fullmatch(
        r"error: the disk is full: .* of 150\.0 MiB free at .*; make room there, then the same "
        r"command goes on, with --name one --resume",
        error,
    ), said
    assert "Traceback" not in said
    assert re.findall(r"status (\d)", said) == ["2", "0"], said
    assert re.findall(r"step-0*(\d+)/manifest", said) == ["5", "10"]
    steps = metrics(tmp_path)
    assert [step for step, named in sorted(steps.items()) if "loss" in named] == list(range(1, 23))
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"
