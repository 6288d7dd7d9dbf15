"""Ctrl-C at a terminal: one line, status 130, nothing left behind, and `--resume` goes on. Real
processes, SIGINT."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from command import TINY, manta, manta_running, metrics, trajectory, wait_until

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "jobs/recipes/digits.yaml")
SETTINGS = [*TINY, "train.epochs=12", "train.checkpoint_every=20"]
STEPS = 12 * 11
INTERRUPT_AFTER = 25


def left_of(session: int) -> list[str]:
    """Command lines of a session's processes: Ray gives its own their process groups, but no
    session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def test_ctrl_c_ends_everything_and_the_run_can_be_resumed(tmp_path):
    run = tmp_path / "manta-runs/one"
    words = ["train", RECIPE, *SETTINGS, "--name", "one"]
    with manta_running(tmp_path, *words, new_session=True) as command:
        wait_until(lambda: max(trajectory(run), default=0) >= INTERRUPT_AFTER, command)
        assert len(left_of(command.pid)) > 5
        os.killpg(
            command.pid, signal.SIGINT
        )  # a terminal sends it to the whole group in the foreground
        output, _ = command.communicate(timeout=60)
        deadline = time.monotonic() + 30
        while left_of(command.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left_of(command.pid) == []
    assert command.returncode == 130, output
    said = [line for line in output.splitlines() if line and not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert said == [
        "stopped; the last checkpoint, if there is one yet, is kept: "
        "the same command with --name and --resume goes on from there"
    ]
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    before = trajectory(run)
    assert INTERRUPT_AFTER <= max(before) < STEPS

    manta(tmp_path, *words, "--resume")

    after = trajectory(run)
    assert sorted(after) == list(range(1, STEPS + 1))
    assert {
        step: after[step] for step in before
    } == before  # steps after the last checkpoint were taken again
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert metrics(run)[STEPS]["knn_top1"] > 0.5
