"""Labels from the table to the probes: ids and none, in datasets of this version and of others."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from manta.config import from_mapping
from manta.data import Holdout, Manifest, ingest, open_dataset
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluation.labels import count_labels
from manta.evaluation.online import embed_splits
from manta.evaluation.rows import SplitRows, decoded
from manta.evaluators import build
from manta.evaluators.corruptions import CorruptionsConfig
from manta.evaluators.knn import KNNConfig
from manta.evaluators.linear import LinearConfig
from manta.evaluators.rank import RankConfig
from manta.modalities import image
from manta.runs.build import plan_of
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths
from manta.tracking import Tracker
from manta.training.evaluations import evaluation_notes
from manta.workshop.prepare import prepare_materials

ROWS, SIZE = 150, 8
DIGITS = load_digits()


class Flat(Encoder):
    """Pixels as features."""

    embed_dim = 3 * SIZE * SIZE

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def dataset(folder: Path, labels: list[int | None]) -> Manifest:
    """Ingest digits with other labels."""
    folder.mkdir()
    images = [png(DIGITS.images[row]) for row in range(len(labels))]
    table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
    pq.write_table(table, folder / "digits.parquet")
    return open_dataset(
        ingest(folder / "digits.parquet", folder / "out", executor="local").location
    )


def as_before(manifest: Manifest) -> Manifest:
    """The dataset as an earlier version wrote it: labels are what the table had."""
    file = Path(manifest.location) / "manifest.json"
    content = json.loads(file.read_text())
    for name in ("values", "labelled_rows", "understood"):
        del content[name]
    file.write_text(json.dumps(content | {"classes": None}))
    return open_dataset(manifest.location)


IMAGES = image.Image(image.ImageConfig(source="", image_size=SIZE), {})


def measured(manifest: Manifest) -> dict[str, float]:
    holdout = Holdout(manifest, 0.25)
    found = embed_splits(
        {"": Flat()},
        SplitRows(manifest, holdout, "bank", 1000),
        SplitRows(manifest, holdout, "queries", 1000),
        prepare=lambda data: data["image"].float() / 255,
        modality=IMAGES,
        device=torch.device("cpu"),
        read=partial(decoded, decoder=IMAGES.decoder(), executor="local"),
    )
    assert found is not None
    configs = (
        KNNConfig(k=5),
        LinearConfig(iterations=20),
        RankConfig(),
        CorruptionsConfig(corruptions=("gaussian_noise",), rows=20, k=5),
    )
    result = found.measure(build(config) for config in configs)
    assert not result.skipped
    return result.metrics


@pytest.fixture(scope="module")
def labels() -> list[int]:
    return [int(label) for label in DIGITS.target[:ROWS]]


def test_ids_are_classes_whatever_version_ingested_them(tmp_path: Path, labels: list[int]) -> None:
    plain = measured(dataset(tmp_path / "plain", list(labels)))
    assert plain["knn_top1"] > 0.6
    ids = dataset(tmp_path / "ids", [1_000_000_007 + 1000 * label for label in labels])
    assert measured(ids) == plain
    assert measured(as_before(ids)) == plain


def test_minus_one_is_none_whatever_version_ingested_it(tmp_path: Path, labels: list[int]) -> None:
    some = [label if row % 3 else -1 for row, label in enumerate(labels)]
    nulls = [None if label < 0 else label for label in some]
    now = dataset(tmp_path / "now", list(some))
    expected = measured(now)
    assert measured(as_before(now)) == expected
    assert measured(dataset(tmp_path / "nulls", nulls)) == expected
    rank = measured(dataset(tmp_path / "whole", list(labels)))["rankme"]
    assert expected["rankme"] == rank, "every row counts where no label is needed"


def test_what_is_lacking_is_known_from_the_labels_alone(tmp_path: Path, labels: list[int]) -> None:
    def notes(name: str, own: list[int | None], **evaluation: float) -> list[str]:
        recipe = {
            "data": {"source": "digits"},
            "objective": {"name": "dcl"},
            "train": {"batch_size": 8},
            "evaluation": evaluation,
        }
        experiment, manifest = from_mapping(recipe), dataset(tmp_path / name, own)
        return evaluation_notes(experiment, manifest, plan_of(experiment, manifest))

    assert notes("whole", list(labels)) == []
    assert notes("none", [None] * 40) == ["left out: knn, linear (need labels)"]
    (told,) = notes("one", [4] * 40)
    assert told == (
        "left out: knn, linear (need two classes, and all 36 labelled rows that it learns from "
        "are of one)"
    )
    (told,) = notes("few", list(labels[:40]), holdout=0.001)
    assert told.startswith("evaluation.holdout=0.001 holds out none of 40 rows")
    assert notes("off", list(labels[:40]), holdout=0.0) == []


def test_data_too_large_to_look_through_are_known_by_their_manifest(
    tmp_path: Path, labels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = dataset(tmp_path / "large", list(labels))
    rows = [
        SplitRows(manifest, Holdout(manifest, 0.25), split, 99) for split in ("bank", "queries")
    ]
    exact = count_labels(*rows)
    assert exact is not None
    assert sum(exact.bank.values()) == exact.bank_rows == 99
    monkeypatch.setattr("manta.evaluation.labels.MOST_GROUPS", 0)
    known = count_labels(*rows)
    assert known is not None
    assert known.bank == {digit: labels.count(digit) for digit in range(10)}
    old = as_before(manifest)
    assert count_labels(*(SplitRows(old, row.holdout, row.split, 99) for row in rows)) is None


def test_an_objective_that_learns_from_labels_has_none_for_some(
    tmp_path: Path, labels: list[int]
) -> None:
    experiment = from_mapping(
        {"data": {"source": "digits"}, "objective": {"name": "pal", "oracle": "label"}}
    )
    some = [-7 if row % 2 else label + 50 for row, label in enumerate(labels)]
    expected = [-1 if row % 2 else label for row, label in enumerate(labels)]
    told: list[str] = []

    def table(manifest: Manifest, name: str) -> list[int]:
        folder, tracker = RunFolder(tmp_path / name), Tracker(runs_dir=str(tmp_path))
        prepare_materials(
            experiment, manifest, folder, tracker, runs=str(tmp_path), notify=told.append
        )
        numbers: list[int] = np.load(local_paths(experiment, folder)["oracle"]).tolist()
        return numbers

    now = dataset(tmp_path / "now", list(some))
    assert table(now, "run") == expected
    assert told == ["oracle: 75 of 150 rows have a label"]
    assert table(as_before(now), "old") == [-1 if one < 0 else one + 50 for one in expected]
    with pytest.raises(ConfigError, match=r"wants the column 'label' .* holds no labels at all"):
        table(dataset(tmp_path / "none", [None] * 30), "other")
