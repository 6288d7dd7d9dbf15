"""A run that starts from another model's weights: what fits, what is said, and what is copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from manta import encoders
from manta.config import Experiment, from_mapping
from manta.data import Manifest, Shard
from manta.encoders import Encoder, EncoderConfig, load_fitting
from manta.errors import ConfigError, MantaError
from manta.modalities.image.preprocess import ImagePreprocess
from manta.models.find import exact_model, model_folder
from manta.runs.build import build_objective, untrained_encoder
from manta.runs.folder import RunFolder
from manta.runs.materials import START, required
from manta.serving import ExportedEncoder, save_encoder
from manta.tracking import Tracker
from manta.training.estimate import estimate
from manta.training.start import OpenedStart, opened_start, tags

SIZE = 32
VIT = {"name": "test_vit", "stem": "small"}


def experiment_of(start: str | None = None, size: int = SIZE, **encoder: object) -> Experiment:
    given = encoder if start is None else {**encoder, "start": start}
    return from_mapping(
        {
            "data": {"source": "digits", "image_size": size},
            "encoder": given,
            "objective": {"name": "byol"},
            "train": {"epochs": 1, "batch_size": 16, "seed": 3},
        }
    )


def saved(folder: Path, experiment: Experiment) -> Encoder:
    """Save an encoder with weights of its own seed in a folder."""
    other = experiment.model_copy(update={"train": experiment.train.model_copy(update={"seed": 7})})
    encoder = untrained_encoder(other).eval()
    exported = ExportedEncoder(
        encoder, ImagePreprocess(experiment.modality().spec.side, (0.5,) * 3, (0.5,) * 3)
    )
    save_encoder(exported, folder, config=experiment.encoder)
    return encoder


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    return Tracker(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Encoder]:
    """A saved residual network, and its folder."""
    folder = tmp_path / "given"
    return folder, saved(folder, experiment_of(name="test_resnet"))


def test_the_absence_of_a_start_changes_no_fingerprint() -> None:
    without = experiment_of(name="test_resnet")
    assert "start" not in without.model_dump(mode="json")["encoder"]
    assert without.fingerprint() == experiment_of(name="test_resnet", start=None).fingerprint()
    assert without.fingerprint() != experiment_of("one", name="test_resnet").fingerprint()
    reopened = from_mapping(experiment_of("one", name="test_resnet").model_dump(mode="json"))
    assert reopened.encoder.start == "one"


def test_one_place_of_weights_is_enough() -> None:
    with pytest.raises(ConfigError, match="leave one out"):
        experiment_of("one", name="test_resnet", pretrained=True)


def test_the_run_and_its_momentum_copy_begin_at_the_weights_of_the_start(
    given: tuple[Path, Encoder],
) -> None:
    folder, encoder = given
    experiment = experiment_of(str(folder), name="test_resnet")
    manifest = Manifest(
        location="",
        rows=8,
        shards=[Shard("", 8, [8], 0)],
        kind="",
        quarantined=0,
        digest="",
        bytes=0,
        labelled=False,
        classes=None,
        sizes={},
        mean=[],
        std=[],
        moment_rows=0,
        source="",
    )
    assert set(required(experiment)) == {START}
    objective = build_objective(experiment, manifest, {START: folder}).eval()
    images = torch.randn(4, 3, SIZE, SIZE)
    assert torch.equal(objective.exported.eval()(images), encoder(images))
    stem = encoder.state_dict()["model.conv1.0.weight"]
    held = [t for n, t in objective.state_dict().items() if n.endswith("conv1.0.weight")]
    assert len(held) == 2  # the encoder's and its momentum copy's
    assert all(torch.equal(weights, stem) for weights in held)


def test_what_does_not_fit_is_named_and_keeps_its_weights(tmp_path: Path) -> None:
    saved(tmp_path, experiment_of(name="resnet18"))  # with a stem of 7x7 and not 3x3
    torch.manual_seed(0)
    small = encoders.build(EncoderConfig(name="resnet18", stem="small"), _spec())
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    fit = load_fitting(small, tmp_path, start="given")
    assert fit.unfitted == {"conv1.weight": "[64, 3, 7, 7] there, [64, 3, 3, 3] here"}
    after = small.state_dict()
    assert torch.equal(before["model.conv1.weight"], after["model.conv1.weight"])
    changed = before["model.layer1.0.conv1.weight"], after["model.layer1.0.conv1.weight"]
    assert not torch.equal(*changed)
    total = len(fit.fitted) + 1
    said = f"started from given: {len(fit.fitted)} of {total} tensors; not fitted: conv1.weight"
    assert fit.sentence("given").startswith(said)


def test_position_embeddings_are_resampled_as_timm_does(tmp_path: Path) -> None:
    saved(tmp_path / "vit", experiment_of(size=64, name="test_vit"))
    torch.manual_seed(0)
    larger = encoders.build(EncoderConfig(name="test_vit"), _spec(96))
    fit = load_fitting(larger, tmp_path / "vit", start="vit")
    assert fit.resampled == ("pos_embed",)
    assert not fit.unfitted
    assert "pos_embed resampled" in fit.sentence("vit")


def test_nothing_that_fits_is_one_line(given: tuple[Path, Encoder]) -> None:
    vit = encoders.build(EncoderConfig(name="test_vit"), _spec())
    with pytest.raises(ConfigError, match=r"none of the \d+ tensors") as caught:
        load_fitting(vit, given[0], start="given")
    assert "\n" not in str(caught.value)


def test_the_architecture_is_the_starts_where_none_is_named(
    given: tuple[Path, Encoder], tmp_path: Path
) -> None:
    start = str(given[0])
    with opened_start(experiment_of(start), str(tmp_path)) as opened:
        encoder = opened.experiment.encoder
    assert (encoder.name, encoder.start) == ("test_resnet", start)
    named = experiment_of(start, name="resnet10t")
    with pytest.raises(ConfigError), opened_start(named, str(tmp_path)):
        pass


def test_a_start_states_where_it_comes_from(given: tuple[Path, Encoder], tmp_path: Path) -> None:
    experiment = experiment_of(str(given[0]), name="test_resnet")
    with opened_start(experiment, str(tmp_path)) as opened:
        start = opened.record
        assert opened.at_hand == {str(given[0]): given[0]}
    assert start is not None
    assert start["unfitted"] == {}
    assert tags(start)["manta.start"] == str(given[0])
    with opened_start(experiment_of(name="test_resnet"), str(tmp_path)) as none:
        assert (none.record, none.at_hand) == (None, {})
    assert estimate(experiment, str(tmp_path))["start"] == start["said"]


def copied(start: OpenedStart, folder: RunFolder) -> None:
    """Do to a run's folder what a run does: write the record, then copy the model."""
    start.write(folder)
    for model in start.at_hand.values():
        for file in model.iterdir():
            folder.write(file.read_bytes(), "materials", START, file.name)


def test_a_resumed_run_goes_on_where_its_start_is_gone(
    given: tuple[Path, Encoder], tmp_path: Path
) -> None:
    experiment, run = experiment_of(str(given[0])), RunFolder(tmp_path / "run")
    with opened_start(experiment, str(tmp_path)) as begun:
        begun.write(run)
    shutil.move(given[0], tmp_path / "elsewhere")
    # Killed before the copy: the model is needed, and the line names it.
    with pytest.raises(MantaError, match="given"), opened_start(experiment, str(tmp_path), run):
        pass
    shutil.move(tmp_path / "elsewhere", given[0])
    with opened_start(experiment, str(tmp_path), run) as again:
        copied(again, run)
    shutil.rmtree(given[0])
    with opened_start(experiment, str(tmp_path), run) as resumed:
        assert (resumed.experiment, resumed.record) == (begun.experiment, begun.record)
        assert resumed.at_hand == {str(given[0]): run.local / "materials" / START}


def test_what_was_resolved_is_what_is_open(
    given: tuple[Path, Encoder], tracker: Tracker, tmp_path: Path
) -> None:
    assert exact_model(str(given[0]), tracker, str(tmp_path)) == str(given[0])
    run = RunFolder(tmp_path / "runs/first")
    run.write(experiment_of(name="test_resnet").to_yaml().encode(), "experiment.yaml")
    run.write_json({"name": "first", "run_id": "7", "status": "finished"}, "run.json")
    for file in given[0].iterdir():
        run.write(file.read_bytes(), "encoder", file.name)
    with opened_start(experiment_of("first"), str(tmp_path / "runs")) as opened:
        record = opened.record
    assert record is not None
    assert (record["model"], record["resolved"], record["run_id"]) == ("first", run.url, "7")
    assert tags(record)["manta.start.run_id"] == "7"


def test_a_start_of_another_modality_is_refused_in_one_line(
    given: tuple[Path, Encoder], tmp_path: Path
) -> None:
    tree = experiment_of(str(given[0]), name="test_resnet").model_dump(mode="json")
    series = {"source": "waves.csv", "modality": "series"}
    of_series = from_mapping(
        {"data": series, "objective": tree["objective"], "encoder": {"start": str(given[0])}}
    )
    with (
        pytest.raises(ConfigError, match=r"is a model of image and the data are series") as caught,
        opened_start(of_series, str(tmp_path)),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_folder_of_timm_is_a_model(
    given: tuple[Path, Encoder], tracker: Tracker, tmp_path: Path
) -> None:
    (given[0] / "manta.json").unlink()
    with model_folder(f"local-dir:{given[0]}", tracker, str(tmp_path)) as folder:
        loaded = encoders.load_saved(folder).encoder.eval()
    images = torch.randn(2, 3, SIZE, SIZE)
    assert np.allclose(loaded(images).detach(), given[1](images).detach())


def _spec(size: int = SIZE):
    return experiment_of(size=size, name="test_resnet").modality().spec


def test_only_the_runs_own_encoder_has_a_start() -> None:
    partner = {"name": "mokd", "partner": {"name": "test_vit", "start": "one"}}
    with pytest.raises(ConfigError, match=r"^objective\.partner\.start: no such key"):
        from_mapping({"data": {"source": "digits"}, "objective": partner})
    given = EncoderConfig(name="test_vit", stem="small")
    tree = {"data": {"source": "digits"}, "encoder": given, "objective": {"name": "byol"}}
    assert from_mapping(tree).encoder.model_dump(exclude_unset=True) == given.model_dump(
        exclude_unset=True
    )
