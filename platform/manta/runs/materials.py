"""Materials in a run's folder: which ones are required, and their paths on this machine."""

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
from manta.materials import Material, ModelMaterial
from manta.objectives import OBJECTIVES
from manta.runs.folder import RunFolder

FOLDER, INDEX = "materials", "materials.json"
START = "encoder-start"
"""Name of the material that `encoder.start` asks for."""


def required(experiment: Experiment) -> Mapping[str, Material]:
    """Return the materials that a run needs, by name: the objective's and the start's."""
    start = experiment.encoder.start
    of_start = {} if start is None else {START: ModelMaterial(start)}
    return {**of_objective(experiment), **of_start}


def of_objective(experiment: Experiment) -> Mapping[str, Material]:
    """Return the materials that the objective needs, by name."""
    return OBJECTIVES[experiment.objective.name].materials(experiment.objective)


def is_complete(material: Material, folder: RunFolder, name: str) -> bool:
    """Return whether a run's folder has the whole of a material."""
    return folder.exists(FOLDER, *material.last_file(name))


def reuse(experiment: Experiment, folder: RunFolder, source: RunFolder) -> None:
    """Copy the required materials that `source` has and `folder` lacks.

    Trials of a study share equal materials: one is equal if the index in `source` describes it in
    the same words as the experiment does.
    """
    for name, material in required(experiment).items():
        index = source.read_json(FOLDER, INDEX) if source.exists(FOLDER, INDEX) else {}
        if index.get(name) != repr(material):
            continue
        for file in _files(material, source, name):
            if not folder.exists(FOLDER, *file):
                copy_file(source.at(FOLDER, *file), folder.at(FOLDER, *file))


def local_paths(experiment: Experiment, folder: RunFolder) -> dict[str, Path]:
    """Return the path of each material on this machine, by name.

    Files on an object store are downloaded, once per machine.
    """
    return {
        name: _here(folder, material.entry(name), _files(material, folder, name))
        for name, material in required(experiment).items()
    }


def model_here(folder: RunFolder, name: str) -> Path:
    """Return the folder on this machine of the saved encoder `name` among a run's materials."""
    return _here(folder, name, _files_of_folder(folder, name))


def _files(material: Material, folder: RunFolder, name: str) -> list[tuple[str, ...]]:
    """Return the path, as its parts, of each file of a material."""
    return [(material.entry(name),)] if material.last is None else _files_of_folder(folder, name)


def _files_of_folder(folder: RunFolder, name: str) -> list[tuple[str, ...]]:
    return [(name, file) for file in folder.list(FOLDER, name)]


def _here(folder: RunFolder, entry: str, files: list[tuple[str, ...]]) -> Path:
    """Return the path on this machine's disk of `entry`, which consists of `files`.

    For a folder on an object store, all processes of a machine share one copy in the temporary
    folder: the first process that needs this version of the files downloads them, and the others
    wait for it.
    """
    if folder.is_local:
        return folder.local / FOLDER / entry
    versions = [["/".join(file), *_version(folder.at(FOLDER, *file))] for file in files]
    mark = hashlib.sha256(json.dumps([folder.url, versions]).encode()).hexdigest()[:24]
    shared = Path(tempfile.gettempdir()) / f"manta-materials-{os.getuid()}"
    # For this user only: others must not be able to put files here that a run would load.
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
    """Return the file's size and whatever else the store reports that changes with the content."""
    info = file.fs.info(file.path)
    return [str(info[key]) for key in ("size", "ETag", "etag", "created") if key in info]
