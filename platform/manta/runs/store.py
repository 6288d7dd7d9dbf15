"""Lookup of runs by name, and of the configurations they were started with."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import yaml

from manta.config import Experiment, from_mapping
from manta.disk import writing_to
from manta.errors import RunError
from manta.evaluators import EVALUATORS
from manta.objectives import OBJECTIVES
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.words import places

Notify = Callable[[str], None]


def default_store(runs: str) -> str:
    """Return the folder for MLflow's store if no server is named: the local runs folder."""
    folder = RunFolder(runs)
    return folder.url if folder.is_local else os.path.abspath("manta-runs")


def places_of(runs: str, name: str) -> list[str]:
    """Return where the run or study that `name` means may lie, the likelier place first."""
    return places(name, f"{runs.rstrip('/') or '/'}/{name}")


def is_run(place: str) -> bool:
    """Return whether a run lies at a path or URL."""
    folder = RunFolder(place)
    return folder.exists("run.json") and folder.exists("experiment.yaml")


def find_run(runs: str, name: str) -> RunFolder:
    """Return the run of this name in `runs`, or the run whose folder is `name`; `manta.words`.

    Raises:
        RunError: there is no such run; the message lists the existing ones.
    """
    for place in places_of(runs, name):
        if is_run(place):
            return RunFolder(place)
    entries = {entry: RunFolder(f"{runs}/{entry}") for entry in RunFolder(runs).list()}
    there = [
        f"{entry} ({status(folder)})"
        for entry, folder in entries.items()
        if folder.exists("run.json")
    ]
    hint = f"runs here: {', '.join(there[-8:])}" if there else f"{runs} holds no runs yet"
    raise RunError(f"no run named {name!r} in {runs}; {hint}")


def load_experiment(folder: RunFolder) -> Experiment:
    """Return the resolved configuration with which a run was started.

    Raises:
        RunError: it names an objective or an evaluator that is not defined in this process.
    """
    tree = yaml.safe_load(folder.read("experiment.yaml"))
    require_components(tree, f"run {folder.name!r}")
    return from_mapping(tree)


def stats_of(folder: RunFolder) -> dict[str, Any]:
    """Return what the ingest of a run's data measured, for its modality."""
    return dict(folder.read_json("run.json").get("stats") or {})


def require_components(tree: Mapping[str, Any], owner: str) -> None:
    """Check that this process has the objective and the evaluators of a saved configuration.

    Args:
        tree: an experiment as plain data.
        owner: the run or study that was started with it, for the message.

    Raises:
        RunError: one is missing; the message says what to define first.
    """
    evaluators = tree.get("evaluation", {}).get("evaluators", [])
    named: list[tuple[str, Container[object], str]]
    named = [("objective", OBJECTIVES, tree["objective"]["name"])]
    named += [("evaluator", EVALUATORS, evaluator["name"]) for evaluator in evaluators]
    for noun, registry, name in named:
        if name not in registry:
            raise RunError(
                f"{owner} has the {noun} {name!r}, which is not defined in this process; first run"
                f" the code that has `@manta.{noun}({name!r})`, or install its package"
            )


def git_commit() -> str | None:
    """Return the git commit of the working directory; None outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def write_summary(summary: dict[str, Any], path: str | Path) -> None:
    """Write a result as JSON.

    Raises:
        ValueError: it holds a NaN, which JSON cannot express.
        ResourceError: the file cannot be written, or the disk is full.
    """
    text = json.dumps(summary, indent=2, allow_nan=False, default=str) + "\n"
    with writing_to(path):
        Path(path).write_text(text)
