"""Checks of whether this machine is ready for runs, each with a line on how to fix it.

They only look: they start nothing and write nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from manta.doctor.check import Check, one_line
from manta.doctor.machine import cores, device, disk, memory, shared_memory
from manta.doctor.services import ray_session, tracking
from manta.doctor.software import images, package, python, ray, source_tree, torch_pair
from manta.doctor.user import home, limits, temporary_folder
from manta.extras import describe_extras

__all__ = [
    "Check",
    "checks",
    "cores",
    "device",
    "disk",
    "home",
    "images",
    "limits",
    "memory",
    "package",
    "python",
    "ray",
    "ray_session",
    "shared_memory",
    "source_tree",
    "temporary_folder",
    "torch_pair",
    "tracking",
]


def checks(runs: str | Path = "manta-runs") -> list[Check]:
    """Return the results of all checks, the most fundamental first.

    Args:
        runs: folder or URL that holds the runs.
    """
    # For runs on an object store, check the folder of the files that are kept on this machine.
    folder = Path("manta-runs" if "://" in str(runs) else runs)
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("source tree", source_tree),
        ("Python", python),
        ("torch", torch_pair),
        ("timm", lambda: package("timm", ">=1.0.20")),
        ("Ray", ray),
        ("MLflow", lambda: package("mlflow", ">=3.17,<3.18")),
        ("Optuna", lambda: package("optuna", ">=5,<6")),
        ("extras", lambda: Check("extras", "ok", describe_extras())),
        ("images", images),
        ("device", device),
        ("cores", cores),
        ("memory", memory),
        ("disk", lambda: disk(folder)),
        ("shared memory", shared_memory),
        ("temporary folder", temporary_folder),
        ("home", home),
        ("limits", limits),
        ("tracking store", lambda: tracking(folder)),
        ("Ray session", ray_session),
    ]
    return [_guarded(name, look) for name, look in looks]


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """Return the result of a check; an exception becomes a result too."""
    try:
        return look()
    # A broken machine fails in unforeseen ways, and the other checks are still worth knowing.
    except Exception as error:
        reason = f"cannot be looked at: {one_line(error)}"
        return Check(name, "bad", reason, "read the error; the other rows still hold")
