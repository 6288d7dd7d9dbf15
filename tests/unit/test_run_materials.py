"""The materials in a run's folder: required by the objective, reused by trials, on this machine."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

from manta.config import Experiment, from_mapping
from manta.files import Place
from manta.objectives import ClusterMaterial
from manta.runs.folder import RunFolder
from manta.runs.materials import FOLDER, INDEX, local_paths, required, reuse

TABLE = "clusters.npy"


def experiment_of(**objective: object) -> Experiment:
    return from_mapping(
        {
            "data": {"source": "digits", "image_size": 16},
            "encoder": {"name": "resnet10t"},
            "objective": objective,
            "train": {"epochs": 1, "batch_size": 16},
        }
    )


@pytest.fixture
def experiment() -> Experiment:
    return experiment_of(name="clusterfit", model="timm:resnet18", clusters=5)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    """A run on an object store, and a temporary folder of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    store = fsspec.filesystem("memory")
    if store.exists("/run-materials"):
        store.rm("/run-materials", recursive=True)
    return RunFolder("memory://run-materials/one")


def fill(folder: RunFolder, experiment: Experiment, numbers: list[int]) -> bytes:
    """A finished table, with its entry in the index."""
    place = Place.of(folder.url_of(FOLDER, TABLE))
    place.parent.make()
    with place.writing() as file:
        np.save(file, np.array(numbers, dtype=np.int32))
    folder.write_json({"clusters": str(required(experiment)["clusters"])}, FOLDER, INDEX)
    return place.read()


def test_an_objective_says_what_it_requires(experiment: Experiment) -> None:
    (name,) = required(experiment)
    material = required(experiment)[name]
    assert name == "clusters"
    assert isinstance(material, ClusterMaterial)
    assert material.clusters == 5
    assert required(experiment_of(name="simclr")) == {}


def test_materials_of_a_local_run_are_used_where_they_lie(
    experiment: Experiment, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    fill(folder, experiment, [1, 2])
    assert local_paths(experiment, folder) == {"clusters": tmp_path / "run" / FOLDER / TABLE}


def test_a_bucket_is_downloaded_once_a_version(
    experiment: Experiment, bucket: RunFolder, tmp_path: Path
) -> None:
    fill(bucket, experiment, [1, 2, 3])
    path = local_paths(experiment, bucket)["clusters"]
    assert path.is_relative_to(tmp_path / "temporary")
    assert np.load(path).tolist() == [1, 2, 3]
    changed = path.stat().st_mtime_ns
    assert local_paths(experiment, bucket)["clusters"] == path
    assert path.stat().st_mtime_ns == changed, "nothing was downloaded again"
    fill(bucket, experiment, [4, 5, 6, 7])
    newer = local_paths(experiment, bucket)["clusters"]
    assert newer != path
    assert np.load(newer).tolist() == [4, 5, 6, 7]
    assert np.load(path).tolist() == [1, 2, 3], "another process may be reading it"


def test_a_trial_reuses_what_is_the_same_and_no_more(
    experiment: Experiment, bucket: RunFolder, tmp_path: Path
) -> None:
    content = fill(bucket, experiment, [1, 2, 3])
    trial = RunFolder(tmp_path / "trial")
    reuse(experiment, trial, bucket)
    assert trial.read(FOLDER, TABLE) == content
    trial.write(b"its own", FOLDER, TABLE)
    reuse(experiment, trial, bucket)
    assert trial.read(FOLDER, TABLE) == b"its own"

    other = experiment_of(name="clusterfit", model="timm:resnet18", clusters=6)
    reuse(other, RunFolder(tmp_path / "other"), bucket)
    assert not (tmp_path / "other").exists(), "six clusters are another material"
    reuse(experiment, RunFolder(tmp_path / "third"), RunFolder(tmp_path / "empty"))
    assert not (tmp_path / "third").exists()
