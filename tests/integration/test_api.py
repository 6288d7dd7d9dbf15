"""From images to a promoted model by the Python API, in a process whose Ray was there before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from sklearn.datasets import load_digits

import manta

pytestmark = pytest.mark.filterwarnings("default")
RECIPE = Path(__file__).resolve().parents[2] / "jobs/recipes/digits.yaml"
TINY = {
    "data": {"image_size": 16, "limit": 600},
    "train": {"batch_size": 64, "epochs": 2, "log_every": 1, "precision": "float32"},
    "evaluation.evaluators": [{"name": "knn"}, {"name": "rank"}],
    "tracking.register_model": False,
}
STEPS = 14


@pytest.fixture(scope="module")
def runs(tmp_path_factory, migrated, ray_cluster):
    folder = tmp_path_factory.mktemp("api") / "runs"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def run(runs):
    return manta.train(RECIPE, data="digits", name="one", runs=runs, overrides=TINY, progress=False)


@pytest.fixture(scope="module")
def images():
    """Two digits as images, `[2, 8, 8, 3]` uint8."""
    pixels = (load_digits().images[:2] * 15.9).astype(np.uint8)
    return torch.from_numpy(np.repeat(pixels[..., None], 3, axis=-1))


def test_a_run_has_its_numbers_curves_and_page(run, runs):
    assert ray.is_initialized()
    assert (run.name, run.status, run.folder) == ("one", "finished", str(runs / "one"))
    assert run.metrics["knn_top1"] > 0.5
    assert run.metrics["random_knn_top1"] > 0
    assert run.curves["loss"].dropna().index.tolist() == list(range(1, STEPS + 1))
    assert run.summary["steps"] == STEPS
    assert Path(run.page).stat().st_size > 50_000
    assert run.experiment.train.epochs == 2
    assert manta.Run.open("one", runs=runs) == run


def test_a_finished_run_is_returned_and_its_name_is_taken(run, runs, capfd):
    same = manta.train(run, name="one", runs=runs, resume=True)
    assert same.metrics == run.metrics
    assert "run 'one' is already finished" in capfd.readouterr().err
    with pytest.raises(manta.MantaError, match=r"run 'one' exists in .* \(finished\)"):
        manta.train(run, name="one", runs=runs)


def test_an_encoder_takes_images_or_prepared_tensors(run, images):
    encoder = run.encoder()
    assert not encoder.training
    with torch.no_grad():
        embeddings = encoder(images)
        prepared = encoder.preprocess(images)
        assert torch.equal(encoder.encoder(prepared), embeddings)
    assert (embeddings.shape, embeddings.dtype) == ((2, encoder.embed_dim), torch.float32)
    assert prepared.shape == (2, 3, 16, 16)
    assert encoder.preprocess.describe()["image_size"] == 16


def test_an_evaluation_has_intervals_and_can_be_read_back(run, runs):
    evaluation = manta.evaluate(run, "digits", runs=runs, progress=False)
    low, high = evaluation.intervals["knn_top1"]
    assert low < evaluation.metrics["knn_top1"] < high
    assert evaluation.metrics["random_knn_top1"] > 0
    assert Path(evaluation.page).read_text().count("knn_top1")
    assert manta.Evaluation.open(evaluation).metrics == evaluation.metrics


def test_a_comparison_has_the_gain_of_each_over_the_first(run, runs):
    first = min(Path(run.folder, "checkpoints").iterdir())
    options = {"evaluators": ["knn"], "runs": runs, "progress": False}
    comparison = manta.compare([first, run], "digits", **options)
    assert comparison.models == (str(first), "one")
    assert comparison.table.loc["knn_top1", "one"] == comparison.metrics["one"]["knn_top1"]
    metrics, gain = comparison.metrics, comparison.gains["one"]["knn_top1"]
    assert gain["gain"] == pytest.approx(
        metrics["one"]["knn_top1"] - metrics[str(first)]["knn_top1"]
    )
    assert gain["low"] <= gain["gain"] <= gain["high"]


def test_embeddings_are_those_of_the_encoder_and_can_be_looked_at(run, runs, tmp_path):
    embeddings = manta.embed(run, "digits", tmp_path / "digits.parquet", runs=runs, progress=False)
    assert embeddings.array().shape == (embeddings.rows, embeddings.width) == (1797, 512)
    assert np.isfinite(embeddings.array()).all()
    assert embeddings.table["index"].tolist() == list(range(1797))
    assert embeddings.embedded_now == 1797
    again = manta.embed(run, "digits", tmp_path / "digits.parquet", runs=runs, progress=False)
    assert again.embedded_now == 0
    assert manta.Embeddings.open(embeddings).rows == 1797
    page = manta.explore(embeddings, images=64)
    assert page == tmp_path / "digits.html"
    assert page.stat().st_size > 10_000


def test_an_export_a_registered_and_a_promoted_model_are_the_runs(run, runs, images, tmp_path):
    export = manta.export(run, tmp_path / "encoder", runs=runs, progress=False)
    assert export.error <= export.tolerance
    version = manta.register(run, "digits-encoder", runs=runs, progress=False)
    assert (version.name, version.version) == ("digits-encoder", "1")
    promotion = manta.promote("digits-encoder", "digits", runs=runs, progress=False)
    assert promotion.gain is None
    assert promotion.low < promotion.accuracy < promotion.high
    assert "gets @champion" in promotion.sentence
    models = [export, version.uri, "models:/digits-encoder@champion"]
    with torch.no_grad():
        expected = run.encoder()(images)
        for model in models:
            assert torch.equal(manta.load_encoder(model, runs=runs)(images), expected), model


def test_what_is_written_for_programs_is_json(run):
    assert json.loads(json.dumps(run.summary, default=str))["steps"] == STEPS
