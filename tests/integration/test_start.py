"""A second run that starts from the first, as a user runs both."""

import json

import mlflow
import torch
from command import TINY, manta

from manta.data import open_dataset
from manta.encoders import load_saved
from manta.runs.build import build_objective
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths
from manta.runs.store import load_experiment

SHORT = ["digits", *TINY, "train.epochs=0.2"]


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
