"""A run that loses a worker or its driver gives the same curve as one that loses nothing. Real processes, SIGKILL."""

from pathlib import Path

import pytest
from command import TINY, descendants, manta, manta_running, metrics, sigkill, trajectory, wait_until, worker_of

ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "jobs/recipes/digits.yaml")
SETTINGS = [*TINY, "train.epochs=8", "train.checkpoint_every=7"]
KILL_AFTER = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("survival")


@pytest.fixture(scope="module")
def whole(folder):
    """The curve of a run that nothing happened to."""
    manta(folder, "train", RECIPE, *SETTINGS, "--name", "whole")
    curve = trajectory(folder / "manta-runs/whole")
    assert sorted(curve) == list(range(1, 89))
    return curve


def test_a_killed_worker_costs_no_sample_and_changes_no_loss(folder, whole):
    run = folder / "manta-runs/worker"
    with manta_running(folder, "train", RECIPE, *SETTINGS, "--name", "worker") as command:
        wait_until(lambda: max(metrics(run), default=0) >= KILL_AFTER, command)
        sigkill(worker_of(command))
        wait_until(lambda: (run / "summary.json").exists(), command)
    assert trajectory(run) == whole


def test_a_killed_driver_is_resumed_where_it_was(folder, whole):
    run = folder / "manta-runs/driver"
    with manta_running(folder, "train", RECIPE, *SETTINGS, "--name", "driver") as command:
        wait_until(lambda: max(metrics(run), default=0) >= KILL_AFTER, command)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    assert max(trajectory(run)) < 88
    refused = manta(folder, "train", RECIPE, *SETTINGS, "--name", "driver", check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    other = manta(folder, "train", RECIPE, *SETTINGS, "train.seed=1", "--name", "driver", "--resume", check=False)
    assert other.returncode == 2
    assert "another configuration" in other.stderr
    manta(folder, "train", RECIPE, *SETTINGS, "--name", "driver", "--resume")
    assert trajectory(run) == whole
