"""Runs and models by the names that users have for them, and what is restored from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from manta.config import Experiment, from_mapping
from manta.data import Manifest
from manta.errors import RunError
from manta.models.card import card_of, evaluation_of
from manta.models.find import checkpoint_of, choice_of_model, model_folder, run_folder
from manta.models.register import register_run
from manta.models.restore import export, exported_encoder, restored
from manta.objectives import Objective
from manta.runs.build import build_objective
from manta.runs.checkpoint import Checkpoints, new_manifest, snapshot
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.runs.store import default_store, find_run, load_experiment, write_summary
from manta.serving import load_exported, save_encoder
from manta.tracking import Tracker

SETTINGS: dict[str, Any] = {
    "data": {"source": "digits", "image_size": 16},
    "encoder": {"name": "resnet10t"},
    "objective": {"name": "simclr", "projector": {"hidden": 16, "out": 8}},
    "train": {"epochs": 1, "batch_size": 16},
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return from_mapping(SETTINGS)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A dataset's description without its rows: a model is restored without reading any."""
    data = Manifest(
        location=str(tmp_path / "digits.manta"),
        rows=100,
        labelled=False,
        classes=None,
        shards=[],
        sizes={},
        mean=[0.3] * 3,
        std=[0.4] * 3,
        moment_rows=100,
        source="digits",
        kind="digits",
        quarantined=0,
        digest="d",
        bytes=0,
    )
    Path(data.location).mkdir()
    (Path(data.location) / "manifest.json").write_text(data.to_json())
    return data


@pytest.fixture
def objective(experiment: Experiment, manifest: Manifest) -> Objective[Any]:
    torch.manual_seed(5)
    return build_objective(experiment, manifest)


def save(folder: RunFolder, objective: Objective[Any], step: int) -> None:
    state = snapshot(objective, torch.optim.SGD(objective.parameters(), lr=0.1), step)
    assert state is not None
    checkpoints = Checkpoints(folder, None)
    manifest = new_manifest(
        step, steps_per_epoch=10, total_steps=20, fingerprint="f", run_id=None, metrics={}
    )
    checkpoints.save(state, manifest)
    checkpoints.wait()


@pytest.fixture
def run(
    tmp_path: Path, experiment: Experiment, manifest: Manifest, objective: Objective[Any]
) -> RunFolder:
    """A run with checkpoints of steps 10 and 20; those of step 10 have all weights zero."""
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.write(experiment.to_yaml().encode(), "experiment.yaml")
    record = {"name": "one", "run_id": "r1", "status": "stopped", "dataset": manifest.location}
    folder.write_json(record, "run.json")
    weights = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.load_state_dict({name: torch.zeros_like(value) for name, value in weights.items()})
    save(folder, objective, 10)
    objective.load_state_dict(weights)
    save(folder, objective, 20)
    return folder


@pytest.fixture
def runs(run: RunFolder) -> str:
    return str(run.local.parent)


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 20, 24, 3), dtype=torch.uint8, generator=generator)


def test_a_run_is_found_by_name_or_folder(runs: str, run: RunFolder) -> None:
    assert find_run(runs, "one").url == run.url
    assert find_run(f"{runs}/", "one").url == run.url
    assert find_run("elsewhere", run.url).url == run.url


def test_the_error_lists_the_runs_that_there_are(runs: str, run: RunFolder) -> None:
    killed = RunFolder(f"{runs}/two")
    killed.write_json({"status": "running"}, "run.json")
    Lease.take(killed)
    killed.update_json({"pid": 2**22 + 1}, Lease.FILE)
    (Path(runs) / "datasets").mkdir()
    with pytest.raises(RunError) as caught:
        find_run(runs, "tow")
    assert str(caught.value).endswith("runs here: one (stopped), two (interrupted)")
    with pytest.raises(RunError, match="holds no runs yet"):
        find_run(f"{runs}/datasets", "one")


def test_the_experiment_of_a_run_is_the_one_it_was_started_with(
    run: RunFolder, experiment: Experiment
) -> None:
    assert load_experiment(run) == experiment
    text = run.read("experiment.yaml").decode().replace("name: simclr", "name: mine")
    run.write(text.encode(), "experiment.yaml")
    with pytest.raises(RunError, match="run 'one' has the objective 'mine', which is not defined"):
        load_experiment(run)


def test_mlflow_stands_beside_local_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_store("here") == f"{tmp_path}/here"
    assert default_store("memory://bucket/runs") == f"{tmp_path}/manta-runs"


def test_a_summary_has_no_nan(tmp_path: Path) -> None:
    write_summary({"path": tmp_path, "top1": 0.5}, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == {"path": str(tmp_path), "top1": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        write_summary({"top1": float("nan")}, tmp_path / "s.json")


def test_checkpoints_by_name(runs: str, run: RunFolder) -> None:
    assert checkpoint_of("one", run).step == 20
    assert checkpoint_of(f"{run.url}/checkpoints/step-00000010", run).step == 10
    assert checkpoint_of("one/checkpoints/step-00000010/", run).step == 10
    with pytest.raises(RunError, match=r"no checkpoint of step 11; it has 10, 20"):
        checkpoint_of("one/checkpoints/step-00000011", run)
    run.remove("checkpoints")
    with pytest.raises(RunError, match="has no checkpoint yet; go on with it by"):
        checkpoint_of("one", run)


def test_what_names_a_run_and_what_does_not(
    runs: str, run: RunFolder, objective: Objective[Any], experiment: Experiment, tmp_path: Path
) -> None:
    for name in ("one", "one/checkpoints/step-00000010", run.url):
        found = run_folder(name, runs)
        assert found is not None
        assert found.url == run.url
    saved = save_encoder(
        export(experiment, objective.exported.eval()), tmp_path / "saved", config=experiment.encoder
    )
    for name in ("models:/birds@champion", "timm:resnet18", str(saved.folder)):
        assert run_folder(name, runs) is None


def test_a_name_is_the_runs_and_a_path_the_folders(
    runs: str, run: RunFolder, objective: Objective[Any], experiment: Experiment,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "two").mkdir()
    RunFolder(f"{runs}/two").write(run.read("experiment.yaml"), "experiment.yaml")
    RunFolder(f"{runs}/two").write(run.read("run.json"), "run.json")
    tracker = Tracker(runs_dir=runs)
    assert choice_of_model("one", runs) is None
    exported = export(experiment, objective.exported.eval())
    for name in ("one", "alone"):
        save_encoder(exported, here / name, config=experiment.encoder)
    line = "one is taken for the run of that name; write ./one for what lies here"
    assert choice_of_model("one", runs) == line
    assert [choice_of_model(word, runs) for word in ("./one", "two", "alone")] == [None] * 3
    by_name = run_folder("one", runs)
    assert by_name is not None
    assert by_name.url == run.url
    for word in ("./one", str(here / "one"), f"file://{here}/one", "alone"):
        assert run_folder(word, runs) is None
        with model_folder(word, tracker, runs) as folder:
            assert folder.parent == here
    assert find_run(runs, "two").url == f"{runs}/two", "the folder here is no run"
    for word in ("./two", "../runs", "nothing"):
        with pytest.raises(RunError, match="no run named"):
            find_run(runs, word)


def test_a_path_of_several_parts_is_looked_for_here_and_then_in_the_runs(
    runs: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = RunFolder(f"{runs}/one/trials/0003")
    for name in ("experiment.yaml", "run.json"):
        deep.write(run.read(name), name)
    monkeypatch.chdir(tmp_path)
    assert find_run(runs, "one/trials/0003").url == deep.url
    for name in ("experiment.yaml", "run.json"):
        RunFolder("one/trials/0003").write(run.read(name), name)
    assert find_run(runs, "one/trials/0003").url == f"{tmp_path}/one/trials/0003"
    line = choice_of_model("one/trials/0003", runs)
    assert line == (
        "one/trials/0003 is taken for the path; "
        f"write {runs}/one/trials/0003 for the run of that name"
    )


def test_the_encoder_of_a_run_without_an_export_is_its_newest_checkpoints(
    runs: str, run: RunFolder, objective: Objective[Any], experiment: Experiment
) -> None:
    expected = export(experiment, objective.exported.eval())(images())
    tracker = Tracker(runs_dir=runs)
    with model_folder("one", tracker, runs) as folder:
        loaded = load_exported(folder)
        assert torch.allclose(loaded(images()), expected, atol=1e-6)
    assert not os.path.exists(folder), "it was ours, and is gone"
    assert expected.std() > 0
    with model_folder("one/checkpoints/step-00000010", tracker, runs) as folder:
        assert load_exported(folder)(images()).abs().max() == 0


def test_the_encoder_of_a_finished_run_is_its_export(
    runs: str, run: RunFolder, objective: Objective[Any], experiment: Experiment
) -> None:
    exported = export(experiment, objective.exported.eval())
    save_encoder(exported, run.local / "encoder", config=experiment.encoder)
    run.update_json({"status": "finished"}, "run.json")
    run.remove("checkpoints")  # an export is enough
    tracker = Tracker(runs_dir=runs)
    with model_folder("one", tracker, runs) as folder:
        assert folder != run.local / "encoder"
        assert sorted(os.listdir(folder)) == run.list("encoder")
    with model_folder(f"{run.url}/encoder", tracker, runs) as folder:
        assert str(folder) == f"{run.url}/encoder"
    assert run.exists("encoder", "manta.json"), "the user's own folder stays"


def test_an_unknown_model_that_timm_has_is_pointed_out(runs: str) -> None:
    with (
        pytest.raises(RunError, match="timm's model of that name is timm:resnet18"),
        model_folder("resnet18", Tracker(runs_dir=runs), runs),
    ):
        pass


def test_a_checkpoint_is_restored_whole_and_into_its_own_experiment_only(
    run: RunFolder, experiment: Experiment, manifest: Manifest, objective: Objective[Any]
) -> None:
    newest = checkpoint_of("one", run)
    state = restored(run, experiment, manifest, newest).state_dict()
    assert state.keys() == objective.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in objective.state_dict().items())
    assert not exported_encoder(run, experiment, manifest, newest).training
    wider = from_mapping(SETTINGS | {"objective": {"name": "simclr", "projector": {"hidden": 32}}})
    with pytest.raises(RunError, match="checkpoint at step 20 does not fit this experiment"):
        restored(run, wider, manifest, newest)


def test_a_card_is_of_the_experiment_at_hand(run: RunFolder, experiment: Experiment) -> None:
    assert evaluation_of(run) == {}
    assert card_of(run, experiment).startswith("# one: resnet10t by simclr\n")
    run.write_json(
        {"metrics": {"knn_top1": 0.5}, "bank_rows": 9, "query_rows": 1}, "evaluation.json"
    )
    assert evaluation_of(run)["bank_rows"] == 9
    assert "| `knn_top1` | 0.5 |" in card_of(run, experiment)


def test_a_run_that_has_not_finished_is_not_registered(runs: str, run: RunFolder) -> None:
    with pytest.raises(RunError, match="run 'one' is stopped; let it end, or go on with it"):
        register_run("one", "birds", runs=runs)
    assert not (Path(runs) / "mlflow.db").exists(), "nothing was opened for it"
