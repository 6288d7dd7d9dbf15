"""The materials in a run's folder: which are required, and where they lie on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from manta.config import Experiment
from manta.files import Place
from manta.objectives import OBJECTIVES, Material, ModelMaterial
from manta.runs.folder import RunFolder

FOLDER, INDEX = "materials", "materials.json"
COPY_BYTES = 16 << 20


def wanted(experiment: Experiment) -> Mapping[str, Material]:
    """The objective's materials by name."""
    return OBJECTIVES[experiment.objective.name].materials(experiment.objective)


def borrow(experiment: Experiment, folder: RunFolder, lender: RunFolder) -> None:
    """Take what `lender` has of the materials and `folder` has not: trials of a study share what is
    the same."""
    for name, material in wanted(experiment).items():
        kept = lender.read_json(FOLDER, INDEX) if lender.exists(FOLDER, INDEX) else {}
        if kept.get(name) != str(material):
            continue
        whole = isinstance(material, ModelMaterial)
        for parts in (
            [(name, file) for file in lender.list(FOLDER, name)] if whole else [(f"{name}.npy",)]
        ):
            if not folder.exists(FOLDER, *parts):
                copy_file(place_of(lender, *parts), place_of(folder, *parts))


def local_paths(experiment: Experiment, folder: RunFolder) -> dict[str, Path]:
    """Where the materials lie on this machine; downloaded, once a machine, if the run is on an
    object store."""
    found: dict[str, Path] = {}
    for name, material in wanted(experiment).items():
        whole = isinstance(material, ModelMaterial)
        found[name] = (
            model_here(folder, name) if whole else _here(folder, f"{name}.npy", [f"{name}.npy"])
        )
    return found


def model_here(folder: RunFolder, name: str) -> Path:
    return _here(folder, name, [f"{name}/{file}" for file in folder.list(FOLDER, name)])


def _here(folder: RunFolder, entry: str, files: list[str]) -> Path:
    """`entry`, which consists of `files`, of a run's materials on this machine's disk.

    Of an object store's there is one copy a machine, in the temporary folder, for all processes
    that want this version of the files: the first downloads them, and the others wait.
    """
    if folder.is_local:
        return folder.local / FOLDER / entry
    facts = [[file, *_version(place_of(folder, *file.split("/")))] for file in files]
    mark = hashlib.sha256(json.dumps([folder.url, facts]).encode()).hexdigest()[:24]
    shared = Path(tempfile.gettempdir()) / f"manta-materials-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    root = shared / mark
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for file in files:
            if not (root / file).exists():
                copy_file(place_of(folder, *file.split("/")), Place.of(root / file))
    return root / entry


def _version(file: Place) -> list[str]:
    """Its size, and what else of it the store tells that changes with the content."""
    facts = file.fs.info(file.path)
    return [str(facts[key]) for key in ("size", "ETag", "etag", "created") if key in facts]


def place_of(folder: RunFolder, *parts: str) -> Place:
    return Place.of("/".join((folder.url, FOLDER, *parts)))


def copy_file(source: Place, target: Place) -> None:
    """A file, whole or not at all."""
    target.parent.make()
    with source.open() as read, target.writing() as written:
        shutil.copyfileobj(read, written, COPY_BYTES)
