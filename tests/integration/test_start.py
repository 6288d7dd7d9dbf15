"""A second run that starts from the first, as a user runs both."""

import json

import mlflow
import pytest
import torch
from command import TINY, manta

from manta.config import from_mapping
from manta.data import open_dataset
from manta.encoders import load_saved
from manta.modalities.image.preprocess import ImagePreprocess
from manta.runs.build import build_objective, untrained_encoder
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths
from manta.runs.store import default_store, load_experiment
from manta.serving import ExportedEncoder, save_encoder
from manta.tracking import Tracker, download_model, log_model
from manta.training.start import opened_start, tags

SHORT = ["digits", *TINY, "train.epochs=0.2"]


@pytest.mark.long
def test_a_second_run_starts_at_the_features_of_the_first(tmp_path):
    manta(tmp_path, "train", *SHORT, "--name", "first")
    again = [*SHORT, "encoder.start=first", "train.seed=5"]
    done = manta(tmp_path, "train", *again, "--name", "second")
    assert "started from first" in done.stdout + done.stderr
    folder = RunFolder(tmp_path / "manta-runs/second")
    experiment, facts = load_experiment(folder), folder.read_json("run.json")
    objective = build_objective(
        experiment, open_dataset(facts["dataset"]), local_paths(experiment, folder)
    )
    exported = load_saved(tmp_path / "manta-runs/first/encoder").encoder.eval()
    images = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        at_the_start = objective.exported.eval()(images)
        assert torch.equal(at_the_start, exported(images))
    start = json.loads((tmp_path / "manta-runs/second/start.json").read_text())
    assert start["unfitted"] == {}
    first = RunFolder(tmp_path / "manta-runs/first").read_json("run.json")["run_id"]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/manta-runs/mlflow.db")
    tags = client.get_run(facts["run_id"]).data.tags
    assert (tags["manta.start"], tags["manta.start.run_id"]) == ("first", first)
    assert client.get_run(facts["run_id"]).data.params["encoder.start"] == "first"
    refused = manta(
        tmp_path, "train", *SHORT, "encoder.start=none-such", "--name", "third", check=False
    )
    assert refused.returncode == 2
    assert "none-such" in refused.stderr
    assert not (tmp_path / "manta-runs/third").exists()


def _weights(folder):
    return (folder / "model.safetensors").read_bytes()


def _registered(tracker, run_id, seed, folder):
    """Register another version of the model `base`; return its experiment."""
    given = {
        "data": {"source": "digits", "image_size": 32},
        "encoder": {"name": "test_resnet"},
        "objective": {"name": "byol"},
        "train": {"seed": seed},
    }
    experiment = from_mapping(given)
    exported = ExportedEncoder(
        untrained_encoder(experiment).eval(), ImagePreprocess(32, (0.5,) * 3, (0.5,) * 3)
    )
    saved = save_encoder(exported, folder, config=experiment.encoder)
    log_model(tracker, run_id, exported, name="base", encoder_folder=saved.folder)
    return experiment


def test_a_registered_start_is_the_version_that_the_alias_had(tmp_path):
    tracker = Tracker(experiment="manta", runs_dir=default_store(str(tmp_path)))
    run_id = tracker.create_run("base", config={})
    experiment = _registered(tracker, run_id, 1, tmp_path / "one")
    encoder = experiment.encoder.model_copy(update={"start": "models:/base@candidate"})
    started = experiment.model_copy(update={"encoder": encoder})
    with opened_start(started, str(tmp_path)) as start:
        _registered(tracker, run_id, 2, tmp_path / "two")  # the alias moves on
        (opened,) = start.at_hand.values()
        assert _weights(opened) == _weights(tmp_path / "one")
        assert tags(start.record) == {
            "manta.start": "models:/base@candidate",
            "manta.start.resolved": "models:/base/1",
            "manta.start.run_id": run_id,
        }
    moved = download_model(tracker, "models:/base@candidate", tmp_path / "moved")
    assert _weights(moved / "encoder") == _weights(tmp_path / "two") != _weights(tmp_path / "one")
