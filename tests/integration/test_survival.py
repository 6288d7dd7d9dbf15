"""A run that loses a worker, and then its driver, gives the curve of one that loses nothing.
SIGKILL."""

from pathlib import Path

import pytest
from command import (
    TINY,
    descendants,
    manta_here,
    manta_running,
    metrics,
    refusal,
    sigkill,
    trajectory,
    wait_until,
    worker_of,
)

ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "jobs/recipes/digits.yaml")
SETTINGS = [*TINY, "train.epochs=8", "train.checkpoint_every=7"]
KILL_WORKER_AFTER, KILL_DRIVER_AFTER = 25, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("survival")


@pytest.fixture(scope="module")
def whole(folder, ray_cluster):
    """The curve of a run that nothing happened to."""
    manta_here(folder, "train", RECIPE, *SETTINGS, "--name", "whole")
    curve = trajectory(folder / "manta-runs/whole")
    assert sorted(curve) == list(range(1, 89))
    return curve


def test_a_killed_worker_and_a_killed_driver_cost_no_sample_and_change_no_loss(folder, whole):
    run = folder / "manta-runs/hurt"
    words = ["train", RECIPE, *SETTINGS, "--name", "hurt"]
    with manta_running(folder, *words) as command:
        wait_until(lambda: max(metrics(run), default=0) >= KILL_WORKER_AFTER, command)
        sigkill(worker_of(command))
        wait_until(lambda: max(metrics(run), default=0) >= KILL_DRIVER_AFTER, command)
        recovered = trajectory(run)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    assert recovered.items() <= whole.items()
    assert max(trajectory(run)) < 88
    assert "--resume" in refusal(folder, *words)
    assert "another configuration" in refusal(folder, *words, "train.seed=1", "--resume")
    manta_here(folder, *words, "--resume")
    assert trajectory(run) == whole
