"""Runs the command line as a user does, in a process of its own, and kills parts of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from manta.cli import app
from manta.errors import MantaError

TINY = [
    "data.source=digits",
    "data.image_size=16",
    "data.limit=900",
    "train.batch_size=64",
    "train.log_every=1",
    "train.precision=float32",
    "encoder.name=resnet10t",
    "evaluation.evaluators=[{name: knn}, {name: rank}]",
    "tracking.register_model=false",
]


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


def manta(
    folder: Path, *words: str, env: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`manta ...` in `folder`, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "manta.cli", *words],
        cwd=folder,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"manta {' '.join(words)} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def manta_here(folder: Path, *words: str) -> Said:
    """`manta ...` in `folder`, in this process and on its cluster: importing torch anew is most of
    a test's time."""
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        status = app(list(words), standalone_mode=False)
    assert not status, err.getvalue()
    return Said(out.getvalue(), err.getvalue())


def refusal(folder: Path, *words: str) -> str:
    """The line in which `manta ...` refuses. In this process: what is refused starts nothing, and
    imports take long."""
    with contextlib.chdir(folder), pytest.raises(MantaError) as refused:
        app(list(words), standalone_mode=False)
    assert refused.value.status == 2
    return str(refused.value)


@contextmanager
def manta_running(
    folder: Path, *words: str, env: dict[str, str] | None = None, new_session: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """`manta ...` in `folder`, killed with all that it started if it has not ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manta.cli", *words],
        cwd=folder,
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=new_session,
    )
    family: list[psutil.Process] = []
    try:
        yield process
        family = descendants(process.pid)
    finally:
        family = family or descendants(process.pid)
        process.kill()
        process.wait()
        for relative in family:
            if relative.is_running():
                relative.kill()
        if process.stdout is not None:
            process.stdout.close()


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The Ray Train worker that a command started."""
    for relative in descendants(process.pid):
        if relative.name().startswith("ray::RayTrainWorker") or "RayTrainWorker" in " ".join(
            relative.cmdline()
        ):
            return relative
    raise AssertionError("no training worker is running")


def metrics(run: Path) -> dict[int, dict[str, float]]:
    """What a run logged, by step; the last value of each name wins."""
    found: dict[int, dict[str, float]] = {}
    path = run / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.setdefault(entry["step"], {}).update(entry["metrics"])
    return found


def trajectory(run: Path) -> dict[int, tuple[float, float]]:
    """Step -> (loss, digest of the sample indexes in the batch's order)."""
    return {
        step: (m["loss"], m["batch_digest"])
        for step, m in metrics(run).items()
        if "batch_digest" in m
    }


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 200
) -> None:
    """Poll until it holds; a process that ends before is a failure that shows its output."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            output = process.stdout.read() if process.stdout is not None else ""
            raise AssertionError(
                f"the command ended with {process.returncode} too early:\n{output}"
            )
        if time.monotonic() > deadline:
            raise AssertionError("waited too long")
        time.sleep(0.02)


def sigkill(process: psutil.Process | subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
