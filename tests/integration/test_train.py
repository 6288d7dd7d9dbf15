"""The main job, as a user runs it: raw images in, evaluated and registered encoder out."""

import json
import random
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import TINY, manta, manta_here, manta_running, metrics, trajectory, wait_until
from PIL import Image
from tracking_server import Server

ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "jobs/recipes/digits.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on digits with two overrides, its folder and its summary."""
    folder = tmp_path_factory.mktemp("train")
    words = [*TINY[:-1], "train.epochs=6", "objective.temperature=0.3", "train.log_every=5"]
    done = manta(folder, "train", RECIPE, *words, "--name", "short", "--summary", "summary.json")
    return folder, json.loads((folder / "summary.json").read_text()), done


def test_the_summary_says_what_happened(finished):
    folder, summary, _ = finished
    assert summary["name"] == "short"
    assert summary["steps"] == 66
    assert summary["epochs"] == pytest.approx(6)
    assert 0 < summary["input_wait_fraction"] < 1
    assert summary["images_per_second"] > 1
    assert summary["first_step_seconds"] > 0
    assert summary["peak_rss_bytes"] > 1e8
    assert np.isfinite(summary["loss"])
    assert (Path(summary["checkpoint"]) / "manifest.json").exists()
    assert summary["metrics_pending"] == 0
    assert (folder / "manta-runs/short/report.html").stat().st_size > 50_000


def test_pretraining_beats_the_untrained_encoder(finished):
    _, summary, _ = finished
    trained, untrained = summary["metrics"]["knn_top1"], summary["metrics"]["random_knn_top1"]
    assert 0 < untrained < trained <= 1
    assert min(summary["metrics"]["rankme"], summary["metrics"]["random_rankme"]) > 0


AS_A_USER = """
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///manta-runs/mlflow.db")
model = mlflow.pyfunc.load_model("models:/manta-simclr-resnet10t@candidate")
draw = np.random.default_rng(0)
for shape in ((1, 8, 8, 3), (3, 40, 30, 3)):
    features = np.asarray(model.predict(draw.integers(0, 256, shape, dtype=np.uint8)))
    print(features.shape, features.dtype, np.isfinite(features).all(), features.std() > 0)
"""


def test_the_registered_model_loads_and_takes_images_of_any_size(finished):
    folder, summary, _ = finished
    assert summary["model_uri"] == "models:/manta-simclr-resnet10t@candidate"
    done = subprocess.run(
        [sys.executable, "-c", AS_A_USER], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["(1, 512) float32 True True", "(3, 512) float32 True True"]


def test_mlflow_has_the_run(finished):
    folder, summary, _ = finished
    client = mlflow.MlflowClient(f"sqlite:///{folder}/manta-runs/mlflow.db")
    run = client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["objective.temperature"] == "0.3"
    assert run.data.metrics["knn_top1"] == pytest.approx(summary["metrics"]["knn_top1"])
    losses = {m.step: m.value for m in client.get_metric_history(summary["run_id"], "loss")}
    assert losses == {
        step: m["loss"] for step, m in metrics(folder / "manta-runs/short").items() if "loss" in m
    }
    assert {a.path for a in client.list_artifacts(summary["run_id"])} >= {
        "experiment.yaml",
        "report.html",
        "plots",
    }


def test_an_evaluation_of_the_run_gives_the_same_numbers(finished, ray_cluster):
    folder, summary, _ = finished
    data = json.loads((folder / "manta-runs/short/run.json").read_text())["dataset"]
    manta_here(folder, "evaluate", "short", "--data", data, "--summary", "e.json")
    found = json.loads((folder / "e.json").read_text())
    assert found["query_rows"] > 100
    assert found["metrics"]["knn_top1"] == pytest.approx(summary["metrics"]["knn_top1"], abs=0.01)
    assert found["metrics"]["knn_top1"] > found["metrics"]["random_knn_top1"]
    assert Path(found["page"]).read_text().count("knn_top1")
    manta_here(folder, "evaluate", summary["model_uri"], "--data", data, "--summary", "m.json")
    assert json.loads((folder / "m.json").read_text())["metrics"]["knn_top1"] > 0.9
    early = min((folder / "manta-runs/short/checkpoints").iterdir())
    done = manta_here(
        folder,
        "evaluate",
        str(early),
        "--data",
        data,
        "--evaluators",
        "rank",
        "--summary",
        "c.json",
    )
    assert "MLflow does not have" not in done.stderr
    assert (
        json.loads((folder / "c.json").read_text())["name"]
        == f"short at step {int(early.name[5:])}"
    )
    client = mlflow.MlflowClient(f"sqlite:///{folder}/manta-runs/mlflow.db")
    numbers = {
        key: value
        for key, value in client.get_run(summary["run_id"]).data.metrics.items()
        if key.count("/") and "system/" not in key
    }
    assert found["metrics"]["random_knn_top1"] in numbers.values(), (
        "the run has what was found of it"
    )
    version = client.get_model_version_by_alias("manta-simclr-resnet10t", "candidate")
    (output,) = client.get_run(summary["run_id"]).outputs.model_outputs
    logged = client.get_logged_model(output.model_id).metrics
    early_rank = json.loads((folder / "c.json").read_text())["metrics"]["rankme"]
    assert early_rank not in {one.value for one in logged}, "that is another model's"
    assert {(one.key, one.dataset_digest) for one in logged} >= {
        (key, found["digest"][:36]) for key in numbers
    }
    pages = version.tags["manta.evaluation"].removeprefix(f"runs:/{summary['run_id']}/")
    assert f"{pages}/evaluation.html" in {
        file.path for file in client.list_artifacts(summary["run_id"], pages)
    }


def test_two_workers_see_the_same_batches_and_the_same_loss(finished, ray_cluster):
    folder, _, _ = finished
    words = [*TINY, "train.epochs=0.5", "optimizer.lr=1e-4"]
    manta_here(folder, "train", RECIPE, *words, "--name", "one")
    manta_here(folder, "train", RECIPE, *words, "resources.workers=2", "--name", "two")
    one, two = (metrics(folder / "manta-runs" / name) for name in ("one", "two"))
    assert two[1]["gradient_norm"] == pytest.approx(one[1]["gradient_norm"], rel=1e-3)
    for step in (
        1,
        2,
        3,
        4,
        5,
    ):  # float32: the exact comparison, in float64, is in tests/conformance/test_ranks.py
        assert two[step]["loss"] == pytest.approx(one[step]["loss"], rel=2e-4)


def test_corrupt_files_are_listed_and_the_run_finishes(tmp_path, ray_cluster):
    photos = tmp_path / "photos"
    generator, bad = random.Random(0), set()
    for number in range(300):
        path = photos / f"class{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if number % 100 == 7:
            data = path.read_bytes()
            path.write_bytes(generator.choice([b"", data[: len(data) // 2], b"not an image"]))
            bad.add(path.name)
    words = ["data.source=photos", *TINY[1:2], *TINY[3:], "train.epochs=1"]
    manta_here(tmp_path, "train", RECIPE, *words, "--name", "photos")
    listed = pq.read_table(
        next((tmp_path / "manta-runs/datasets").glob("*/quarantine.parquet"))
    ).to_pylist()
    assert {Path(row["path"]).name for row in listed} == bad
    assert all(row["reason"] for row in listed)
    assert json.loads((tmp_path / "manta-runs/photos/run.json").read_text())["rows"] == 297


@pytest.mark.long
def test_a_tracking_server_that_dies_costs_no_metrics(tmp_path):
    server = Server(tmp_path)
    server.start()
    try:
        env = {"MLFLOW_TRACKING_URI": server.uri}
        words = [*TINY, "train.epochs=8"]
        with manta_running(
            tmp_path, "train", RECIPE, *words, "--name", "lonely", env=env
        ) as command:
            run = tmp_path / "manta-runs/lonely"
            wait_until(lambda: max(metrics(run), default=0) >= 5, command)
            server.stop()
            output, _ = command.communicate(timeout=250)
    finally:
        server.stop()
    assert command.returncode == 0, output
    assert sorted(trajectory(run)) == list(range(1, 89))
    assert "metrics.jsonl" in output


def test_a_dry_run_says_what_it_would_take_and_starts_nothing(finished, ray_cluster):
    folder, summary, _ = finished
    words = [*TINY, "train.epochs=6", "--dry-run"]
    known = manta_here(folder, "train", RECIPE, *words, "--summary", "dry.json")
    plan = json.loads((folder / "dry.json").read_text())
    assert (plan["rows"], plan["steps"], plan["batch_per_worker"]) == (1797, summary["steps"], 64)
    assert plan["parameters"] > plan["encoder_parameters"] > 4_000_000
    assert plan["estimated_memory_bytes_per_worker"] > 4 * 4 * plan["parameters"]
    assert "temperature: 0.2" in known.stdout
    elsewhere = manta_here(folder, "train", RECIPE, *words, "--runs", "elsewhere")
    assert "steps: known once the source is ingested" in elsewhere.stdout
    assert not (folder / "elsewhere").exists()
