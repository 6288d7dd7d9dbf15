"""From a finished run to a champion and to files that others load, as the commands do it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from command import TINY, manta_here

from manta.errors import ConfigError, DataError, PromotionRefused, RunError
from manta.evaluation.promote import promote_model
from manta.modalities.image.preprocess import photographs
from manta.models.export import export_to
from manta.models.register import register_run
from manta.serving import load_exported
from manta.tracking import Tracker, download_model

RECIPE = str(Path(__file__).resolve().parents[2] / "jobs/recipes/digits.yaml")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, ray_cluster: str) -> str:
    """A folder with the run `short`, which was registered under its own name when it ended."""
    folder = tmp_path_factory.mktemp("register")
    manta_here(folder, "train", RECIPE, *TINY[:-1], "train.epochs=1", "--name", "short")
    return str(folder / "manta-runs")


def of(runs: str, file: str) -> Any:
    return json.loads((Path(runs) / "short" / file).read_text())


def test_a_run_gets_another_name_and_its_files_stay_where_they_are(
    runs: str, tmp_path: Path
) -> None:
    run, tracker = of(runs, "run.json"), Tracker(runs_dir=runs)
    assert register_run("short", "swans", runs=runs).version == "1"
    own = tracker.client.get_model_version_by_alias("manta-simclr-resnet10t", "candidate")
    version = tracker.client.get_model_version_by_alias("swans", "candidate")
    assert (version.run_id, version.source) == (run["run_id"], own.source)
    assert float(version.tags["knn_top1"]) == pytest.approx(
        of(runs, "evaluation.json")["metrics"]["knn_top1"], abs=1e-6
    )
    for card in (own.description, version.description):
        assert card.startswith("# short: resnet10t by simclr")
        assert f"digest `{run['digest']}`" in card
        assert f"{run['parameters']:,} parameters" in card
        assert f"{run['steps']:,} steps" in card
    files = download_model(tracker, "models:/swans@candidate", tmp_path / "swans")
    assert (files / "README.md").read_text().startswith(version.description)


def test_a_run_that_logged_no_model_logs_it_now(runs: str, tmp_path: Path) -> None:
    tracker = Tracker(runs_dir=runs)
    shutil.copytree(Path(runs) / "short", Path(runs) / "unlogged")
    run_id = tracker.create_run("unlogged", config={})
    (Path(runs) / "unlogged/run.json").write_text(
        json.dumps(of(runs, "run.json") | {"run_id": run_id})
    )
    assert register_run("unlogged", "geese", runs=runs).uri == "models:/geese@candidate"
    assert tracker.client.get_model_version("geese", "1").run_id == run_id
    files = download_model(tracker, "models:/geese/1", tmp_path / "geese")
    source, found = load_exported(Path(runs) / "short/encoder"), load_exported(files / "encoder")
    images = photographs()[1]
    with torch.no_grad():
        torch.testing.assert_close(found(images), source(images), atol=0, rtol=0)


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_becomes_a_champion_once(runs: str) -> None:
    run, client = of(runs, "run.json"), Tracker(runs_dir=runs).client
    assert register_run("short", "birds", runs=runs).version == "1"
    first = promote_model("birds", run["dataset"], min_gain=0.5, runs=runs)
    assert (first.challenger, first.champion, first.min_gain) == ("1", None, 0.005)
    assert first.queries == 180  # one row in ten of the 1,797
    assert first.bank_rows == 1617
    assert first.digest == run["digest"]
    assert first.settings["k"] == 20
    assert first.accuracy > 0.7

    assert register_run("short", "birds", runs=runs).version == "2"
    with pytest.raises(PromotionRefused, match=r"a gain of \+0.00 points") as refused:
        promote_model("birds", run["dataset"], metric="linear_top1", runs=runs)
    assert "on the same 180 queries" in str(refused.value)
    assert str(client.get_model_version_by_alias("birds", "champion").version) == "1"
    tags = client.get_model_version("birds", "2").tags
    assert (tags["manta.champion.outcome"], tags["manta.champion.against"]) == ("refused", "1")
    with pytest.raises(ConfigError, match="'rankme' is not counted by queries"):
        promote_model("birds", run["dataset"], metric="rankme", runs=runs)


@pytest.mark.usefixtures("ray_cluster")
def test_a_promotion_needs_labels(runs: str, tmp_path: Path, make_png: object) -> None:
    register_run("short", "unlabelled", runs=runs)
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        (tmp_path / "photos" / f"{seed}.png").write_bytes(make_png(seed))  # type: ignore[operator]
    with pytest.raises(DataError, match="has no labels"):
        promote_model("unlabelled", str(tmp_path / "photos"), runs=runs)


def test_a_run_that_goes_on_is_not_registered(runs: str) -> None:
    other = Path(runs) / "other"
    shutil.copytree(Path(runs) / "short", other)
    (other / "run.json").write_text(
        json.dumps(json.loads((other / "run.json").read_text()) | {"status": "failed"})
    )
    with pytest.raises(RunError, match="run 'other' is failed"):
        register_run("other", "birds", runs=runs)


def test_a_run_is_exported_with_its_heads(runs: str, tmp_path: Path) -> None:
    found = export_to("short", "pt2", tmp_path / "short.pt2", heads=True, runs=runs)
    assert found["error"] < found["tolerance"]
    with open(tmp_path / "short.pt2", "rb") as file:
        graph = torch.export.load(file).module()
    source = load_exported(Path(runs) / "short/encoder")
    with torch.no_grad():
        for images in photographs():
            torch.testing.assert_close(graph(images), source(images), atol=1e-4, rtol=1e-4)
    path = tmp_path / "short.heads.safetensors"
    assert found["heads_path"] == str(path)
    weights = safetensors.torch.load_file(path)
    checkpoint = sorted((Path(runs) / "short/checkpoints").iterdir())[-1]
    kept = safetensors.torch.load_file(checkpoint / "weights.safetensors")
    assert (
        sorted(weights)
        == found["heads"]
        == sorted(name for name in kept if name.startswith("projector."))
    )
    assert all(torch.equal(value, kept[name]) for name, value in weights.items())
    with safetensors.safe_open(path, "pt") as opened:
        about = opened.metadata()
    assert json.loads(about["objective"])["name"] == "simclr"
    assert about["step"] == str(int(checkpoint.name.removeprefix("step-")))


def test_heads_are_asked_of_runs(runs: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--heads needs a run"):
        export_to(f"{runs}/short/encoder", "safetensors", tmp_path / "out", heads=True, runs=runs)
    assert not (tmp_path / "out").exists()
    export_to(f"{runs}/short/encoder", "safetensors", tmp_path / "out", runs=runs)
    assert load_exported(tmp_path / "out").embed_dim == 512
