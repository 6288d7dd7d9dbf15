"""A sample of the odd corpus, trained on and evaluated; what is in `test/` is never trained on."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import ray

import manta
from manta.data import SourceOptions, open_dataset, prepare
from manta.data.read import read_rows
from odd.case import Case, all_cases, tree

pytestmark = pytest.mark.filterwarnings("default")
SAMPLE = ("folders/parts_merged", "tables/photographs_and_their_table", "tars/other_formats")
FURTHER = ("folders/link_loop", "file_names/not_utf8", "hf_disk/cut_off", "labels/minus_one")
CASES: dict[str, Case] = {case.name: case for case in all_cases("CASES")}
SMALL = {
    "data": {"image_size": 16},
    "train": {"batch_size": 2, "epochs": 2, "log_every": 1, "precision": "float32"},
    "evaluation": {"holdout": 0.0, "evaluators": [{"name": "knn", "k": 1}, {"name": "rank"}]},
    "tracking.register_model": False,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, migrated, ray_cluster):
    folder = tmp_path_factory.mktemp("odd") / "runs"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.mark.parametrize(
    "name", [*SAMPLE, *(pytest.param(name, marks=pytest.mark.long) for name in FURTHER)]
)
def test_odd_data_are_trained_on_and_evaluated(name, runs, tmp_path):
    case = CASES[name]
    (tmp_path / "data").mkdir()
    location = case.make(tmp_path / "data")
    settings = {f"data.{key}": value for key, value in case.options.items()}
    run = manta.train(
        "digits",
        data=location,
        name=name.replace("/", "-"),
        runs=runs,
        overrides=SMALL | settings,
        progress=False,
    )
    assert run.summary["steps"] == 2 * (case.rows // 2)
    assert all(math.isfinite(loss) for loss in run.curves["loss"].dropna())
    others = tree(tmp_path / "others", *(f"{n % 3}/{n}.png" for n in range(60)), "Thumbs.db")
    result = manta.evaluate(run, others, evaluators=["rank"], runs=runs, progress=False)
    assert math.isfinite(result.metrics["rankme"])


def test_what_is_in_test_is_never_trained_on(runs, tmp_path):
    names = [f"{kind}/{number}.png" for kind in "ab" for number in range(4)]
    parts = {part: [f"{part}/{name}" for name in names] for part in ("train", "test")}
    tree(tmp_path / "photos", *parts["train"], *parts["test"])
    run = manta.train(
        "digits", data=tmp_path / "photos", name="parts", runs=runs, overrides=SMALL, progress=False
    )
    stated = json.loads((Path(run.folder) / "run.json").read_text())
    manifest = open_dataset(stated["dataset"])
    paths = read_rows(manifest, np.arange(manifest.rows), paths=True, images=False).paths
    assert paths == parts["train"]
    assert run.summary["steps"] == 2 * 4


def test_the_cluster_ingests_as_this_process_does(runs, tmp_path):
    """The corpus is ingested in one process; here a part of it is by Ray Data."""
    assert ray.is_initialized()
    for name in ("folders/classes", "folders/link_loop", "folders/parts_merged"):
        case = CASES[name]
        folder = tmp_path / name
        folder.mkdir(parents=True)
        location, options = case.make(folder), SourceOptions(**case.options)
        made = open_dataset(prepare(location, tmp_path / f"{name}-cache", options=options))
        assert made.rows == case.rows
        assert made.quarantined == len(case.quarantined)
        assert manta.survey(location, progress=False, **case.options) == made.said()
