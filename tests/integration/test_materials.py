"""What objectives need before their first step: made by the driver, kept with the run, shared by
trials."""

from __future__ import annotations

import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from command import manta_here
from sklearn.metrics import adjusted_mutual_info_score

from manta.config import Experiment, from_mapping
from manta.data import ingest, open_dataset, read
from manta.encoders import EncoderConfig, build
from manta.errors import ConfigError, DataError, RunError
from manta.files import Place
from manta.materials import clusters
from manta.modalities.image.preprocess import ImagePreprocess
from manta.models.actors import cluster_pool
from manta.objectives import ClusterMaterial
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths, reuse
from manta.serving import ExportedEncoder, save_encoder
from manta.serving._parts import EmbeddedRows, part_name, write_part
from manta.serving.embed import EmbedReport, embed, weights_of
from manta.serving.job import Pool
from manta.spec import Spec
from manta.tracking import Tracker
from manta.workshop import autoencoder, driver
from manta.workshop.driver import fit_to_gpus
from manta.workshop.parts import over_parts
from manta.workshop.prepare import prepare_materials


def experiment(objective: dict[str, Any], source: str = "digits") -> Experiment:
    return from_mapping({"data": {"source": source, "image_size": 32}, "objective": objective})


@pytest.fixture(scope="module")
def digits(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("data") / "digits.manta"
    ingest("digits", str(target))
    return str(target)


def silent(_message: str) -> None:
    return None


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    """An empty one, and a machine that has nothing of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = fsspec.filesystem("memory")
    if files.exists("/materials-bucket"):
        files.rm("/materials-bucket", recursive=True)
    return RunFolder("memory://materials-bucket/runs/one")


def encoder(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = EncoderConfig(name="test_resnet")
    exported = ExportedEncoder(
        build(config, Spec.image(32)), ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3)
    )
    return save_encoder(exported, folder, config=config).folder


def write_features(folder: Path, index: np.ndarray, vectors: np.ndarray) -> str:
    """As `embed` leaves them, in seven parts."""
    folder.mkdir()
    for number, rows in enumerate(np.array_split(index, 7)):
        batch = EmbeddedRows(rows, [""] * len(rows), vectors[rows], [])
        write_part(Place.of(folder) / part_name(number), vectors.shape[1], [batch])
    return str(folder)


def test_clusters_are_found_and_kept_by_index(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "FIT_ROWS", 1_000)
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 3_000)
    vectors = np.eye(3, 8, dtype=np.float32)[truth] + 0.05 * draw.standard_normal(
        (3_000, 8)
    ).astype(np.float32)
    features = write_features(tmp_path / "f.parquet", draw.permutation(3_000), vectors)
    tables = [np.full(3_000, -1, dtype=np.int32) for _ in range(2)]
    for table in tables:
        ClusterMaterial("m", 3).assign(partial(over_parts, features), table)
    assert adjusted_mutual_info_score(truth, tables[0]) > 0.99
    assert np.array_equal(tables[0], tables[1])


def test_clusters_want_every_row(ray_cluster: str, tmp_path: Path) -> None:
    vectors = np.eye(100, dtype=np.float32)
    features = write_features(tmp_path / "f.parquet", np.arange(97), vectors)
    with pytest.raises(
        DataError, match=r"^3 rows do not decode any more and have no features; ingest again$"
    ):
        ClusterMaterial("m", 3).assign(partial(over_parts, features), np.empty(100, dtype=np.int32))


def test_gpus_that_are_taken_are_not_waited_for() -> None:
    pool = Pool(least=4, most=8, gpus=1.0)
    assert fit_to_gpus(pool, 8.0) == pool
    assert fit_to_gpus(pool, 3.0) == Pool(least=3, most=8, gpus=1.0)
    assert fit_to_gpus(pool, 0.5) is None
    assert fit_to_gpus(Pool(least=2), 0.0) == Pool(least=2)


def test_pseudo_classes_of_an_autoencoder_tell_digits_apart(
    digits: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 60)
    wanted = experiment({"name": "gsimclr", "clusters": 20}, digits)
    folder, manifest = RunFolder(tmp_path / "run"), open_dataset(digits)
    told: list[str] = []
    prepare_materials(wanted, manifest, folder, tracker, runs=str(tmp_path), notify=told.append)
    (path,) = local_paths(wanted, folder).values()
    table = np.load(path, allow_pickle=False)
    assert table.shape == (1797,)
    assert len(np.unique(table)) == 20
    from sklearn.datasets import load_digits

    assert adjusted_mutual_info_score(load_digits().target, table) > 0.4
    said = ["training an autoencoder", "embedding 1,797 rows by autoencoder"]
    assert told == [f"{words} for the pseudo-classes" for words in said]
    assert folder.list("materials") == ["clusters.npy", "materials.json"], (
        "what it was made from is gone"
    )
    prepare_materials(wanted, manifest, folder, tracker, runs=str(tmp_path), notify=told.append)
    assert len(told) == 2, "what is there is not made again"
    other = RunFolder(tmp_path / "trial")
    reuse(wanted, other, folder)
    prepare_materials(wanted, manifest, other, tracker, runs=str(tmp_path), notify=told.append)
    assert len(told) == 2, "a trial takes the study's"
    assert np.array_equal(np.load(next(iter(local_paths(wanted, other).values()))), table)


def test_an_attempt_goes_on_with_the_model_that_the_first_one_took(
    digits: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the name means other weights by then."""
    made: list[tuple[Pool | None, EmbedReport]] = []

    def watched(*words: Any, pool: Pool, layer: str | None) -> EmbedReport:
        made.append((pool, embed(*words, pool=pool, layer=layer)))
        return made[-1][1]

    def killed(*_words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "embed", watched)
    model = encoder(tmp_path / "model", 0)
    wanted = experiment({"name": "clusterfit", "model": str(model), "clusters": 5}, digits)
    folder, manifest = RunFolder(tmp_path / "run"), open_dataset(digits)
    attempt = partial(
        prepare_materials, wanted, manifest, folder, tracker, runs=str(tmp_path), notify=silent
    )
    with monkeypatch.context() as once:
        once.setattr(ClusterMaterial, "assign", killed)
        with pytest.raises(KeyboardInterrupt):
            attempt()
    kept = tmp_path / "run/materials/clusters-model/model.safetensors"
    assert kept.read_bytes() == (model / "model.safetensors").read_bytes()
    assert folder.list("materials") == ["clusters-features.parquet", "clusters-model"], (
        "no half of a table"
    )
    encoder(tmp_path / "model", 1)
    assert kept.read_bytes() != (model / "model.safetensors").read_bytes()
    attempt()
    (pool, first), (_, second) = made
    assert (first.embedded_now, second.embedded_now) == (1797, 0)
    assert first.job["weights"] == second.job["weights"]
    assert pool == cluster_pool(), "the actors that suit the cluster"
    assert folder.list("materials") == ["clusters.npy", "materials.json"]


def test_a_column_is_read_and_one_that_is_not_there_is_said(
    digits: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns: list[list[str]] = []
    read_group = read._read_group

    def watched(*words: Any) -> Any:
        columns.append(words[-1])
        return read_group(*words)

    monkeypatch.setattr(read, "_read_group", watched)
    wanted = experiment({"name": "pal", "oracle": "label"}, digits)
    folder, manifest = RunFolder(tmp_path / "run"), open_dataset(digits)
    prepare_materials(wanted, manifest, folder, tracker, runs=str(tmp_path), notify=silent)
    (path,) = local_paths(wanted, folder).values()
    from sklearn.datasets import load_digits

    assert np.array_equal(np.load(path), load_digits().target)
    assert columns, "read by the row group"
    assert all(wanted == ["label"] for wanted in columns), "no image is read for a label"
    wrong = experiment({"name": "pal", "oracle": "colour"}, digits)
    with pytest.raises(
        ConfigError, match="wants the column 'colour' and the ingested dataset holds 'label'"
    ):
        prepare_materials(
            wrong,
            manifest,
            RunFolder(tmp_path / "other"),
            tracker,
            runs=str(tmp_path),
            notify=silent,
        )


def test_a_machine_has_one_copy_of_what_lies_in_a_bucket(
    digits: str, tracker: Tracker, bucket: RunFolder, tmp_path: Path
) -> None:
    from sklearn.datasets import load_digits

    labels = load_digits().target
    wanted, manifest = experiment({"name": "pal", "oracle": "label"}, digits), open_dataset(digits)
    prepare_materials(wanted, manifest, bucket, tracker, runs=str(tmp_path), notify=silent)
    (path,) = local_paths(wanted, bucket).values()
    assert np.array_equal(np.load(path), labels)
    before = path.stat()
    assert local_paths(wanted, bucket) == {"oracle": path}
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.unlink()  # as cleaners of temporary folders do
    assert local_paths(wanted, bucket) == {"oracle": path}
    changed = io.BytesIO()
    np.save(changed, labels[::-1])
    bucket.write(changed.getvalue(), "materials", "oracle.npy")
    assert bucket.at("materials", "oracle.npy").size() == path.stat().st_size
    (other,) = local_paths(wanted, bucket).values()
    assert np.array_equal(np.load(other), labels[::-1]), "a run of that name which was started anew"
    copies = [found for found in tmp_path.rglob("*") if found.is_file() and found.name != ".lock"]
    assert {path, other} == {found for found in copies if "manta-materials" in str(found)}


def test_a_model_in_a_bucket_is_whole_here(
    digits: str, tracker: Tracker, bucket: RunFolder, tmp_path: Path
) -> None:
    model = encoder(tmp_path / "model", 0)
    bucket.write(
        b"of an attempt that was killed", "materials", "teacher", "model.safetensors.0a1b.tmp"
    )
    wanted = experiment({"name": "distill", "model": str(model)}, digits)
    prepare_materials(
        wanted, open_dataset(digits), bucket, tracker, runs=str(tmp_path), notify=silent
    )
    (path,) = local_paths(wanted, bucket).values()
    assert weights_of(path) == weights_of(model)


def test_a_model_that_is_not_there_is_said(digits: str, tracker: Tracker, tmp_path: Path) -> None:
    wanted = experiment({"name": "distill", "model": "nothing"}, digits)
    with pytest.raises(RunError, match="no run named 'nothing'"):
        prepare_materials(
            wanted,
            open_dataset(digits),
            RunFolder(tmp_path / "run"),
            tracker,
            runs=str(tmp_path),
            notify=silent,
        )


@pytest.mark.long
def test_a_run_is_distilled_by_the_command_line(ray_cluster: str, tmp_path: Path) -> None:
    tiny = [
        *(
            "data.source=digits",
            "data.image_size=32",
            "data.limit=400",
            "train.batch_size=64",
            "train.precision=float32",
        ),
        *(
            "encoder.name=test_resnet",
            "train.epochs=1",
            "evaluation.evaluators=[{name: knn, k: 5}]",
        ),
        "tracking.register_model=false",
    ]
    manta_here(tmp_path, "train", "simclr-cifar10", *tiny, "--name", "teacher")
    distill = ["train", "distill-cifar10", *tiny, "objective.model=teacher", "--name", "student"]
    manta_here(tmp_path, *distill)
    folder = tmp_path / "manta-runs/student"
    teacher = folder / "materials/teacher/model.safetensors"
    assert (
        teacher.read_bytes()
        == (tmp_path / "manta-runs/teacher/encoder/model.safetensors").read_bytes()
    )
    found = manta_here(
        tmp_path, "evaluate", "student", "--data", "digits", "--evaluators", "knn"
    ).stdout
    assert "knn_top1" in found
