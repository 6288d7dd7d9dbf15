"""The materials in a run's folder: which are required, and where they lie on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from manta.config import Experiment
from manta.files import Place, copy_file
from manta.objectives import OBJECTIVES, Material, ModelMaterial
from manta.runs.folder import RunFolder

FOLDER, INDEX = "materials", "materials.json"


def required(experiment: Experiment) -> Mapping[str, Material]:
    """Return the materials that the objective needs, by name."""
    return OBJECTIVES[experiment.objective.name].materials(experiment.objective)


def reuse(experiment: Experiment, folder: RunFolder, source: RunFolder) -> None:
    """Copy the materials that `source` has and `folder` has not.

    Trials of a study share what is the same: a material counts as the same if the index in
    `source` describes it as the experiment does.
    """
    for name, material in required(experiment).items():
        index = source.read_json(FOLDER, INDEX) if source.exists(FOLDER, INDEX) else {}
        if index.get(name) != str(material):
            continue
        for file in _files(material, source, name):
            if not folder.exists(FOLDER, *file):
                copy_file(source.at(FOLDER, *file), folder.at(FOLDER, *file))


def local_paths(experiment: Experiment, folder: RunFolder) -> dict[str, Path]:
    """Return where each material lies on this machine; what is on an object store is downloaded,
    once a machine."""
    return {
        name: model_here(folder, name)
        if isinstance(material, ModelMaterial)
        else _here(folder, f"{name}.npy", _files(material, folder, name))
        for name, material in required(experiment).items()
    }


def model_here(folder: RunFolder, name: str) -> Path:
    """Return the folder of the saved encoder `name` among a run's materials, on this machine."""
    return _here(folder, name, _files_of_model(folder, name))


def _files(material: Material, folder: RunFolder, name: str) -> list[tuple[str, ...]]:
    """Return the parts of the path of each file that a material consists of."""
    if isinstance(material, ModelMaterial):
        return _files_of_model(folder, name)
    return [(f"{name}.npy",)]


def _files_of_model(folder: RunFolder, name: str) -> list[tuple[str, ...]]:
    return [(name, file) for file in folder.list(FOLDER, name)]


def _here(folder: RunFolder, entry: str, files: list[tuple[str, ...]]) -> Path:
    """Return the path on this machine's disk of `entry`, which consists of `files`.

    Of an object store's there is one copy a machine, in the temporary folder, for all processes
    that want this version of the files: the first downloads them, and the others wait.
    """
    if folder.is_local:
        return folder.local / FOLDER / entry
    versions = [["/".join(file), *_version(folder.at(FOLDER, *file))] for file in files]
    mark = hashlib.sha256(json.dumps([folder.url, versions]).encode()).hexdigest()[:24]
    shared = Path(tempfile.gettempdir()) / f"manta-materials-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    root = shared / mark
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for file in files:
            target = root.joinpath(*file)
            if not target.exists():
                copy_file(folder.at(FOLDER, *file), Place.of(target))
    return root / entry


def _version(file: Place) -> list[str]:
    """Return the size, and what else the store tells that changes with the content."""
    info = file.fs.info(file.path)
    return [str(info[key]) for key in ("size", "ETag", "etag", "created") if key in info]
