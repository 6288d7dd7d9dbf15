"""Data for a model: of its own modality, raw or ingested, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manta import encoders
from manta.config import from_mapping
from manta.data import ingest, open_dataset
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError, DataError
from manta.modalities import default_modality
from manta.models.restore import export
from manta.models.samples import Taken, check_data, dataset_of
from manta.serving import load_exported, save_encoder
from odd.case import tree


def test_models_say_what_they_take_and_earlier_ones_take_images(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps({"modality": "audio"}))
    assert Taken.by(tmp_path) == Taken("audio")
    (tmp_path / DESCRIPTION).write_text("{}")
    assert Taken.by(tmp_path) == Taken("image")


def test_a_dataset_of_other_samples_is_refused_by_both_names(tmp_path: Path) -> None:
    images = ingest(tree(tmp_path / "in", "a.png", "b.png"), tmp_path / "out", executor="local")
    check_data(images.location, Taken())
    assert dataset_of(images.location, Taken(), str(tmp_path)) == images.location
    refusal = r"holds images \(data.modality=image\), and the model takes clips; give it data of"
    for check in (check_data, lambda *args: dataset_of(*args, str(tmp_path))):
        with pytest.raises(ConfigError, match=refusal):
            check(images.location, Taken("audio"))


def test_files_are_sought_by_the_sources_of_the_modality(tmp_path: Path) -> None:
    np.save(tmp_path / "windows.npy", np.zeros((4, 32)))
    check_data(str(tmp_path / "windows.npy"), Taken("series"))
    with pytest.raises(DataError, match="is not read as it is"):
        check_data(str(tmp_path / "windows.npy"), Taken())


def test_an_ingest_that_found_nothing_says_so_again(tmp_path: Path) -> None:
    """Its one shard is complete, so that the second finds nothing left to read."""
    clips = tree(tmp_path / "in", "a.png", "b.png")
    for _ in range(2):
        with pytest.raises(DataError, match="is a clip that can be read"):
            ingest(clips, tmp_path / "out", modality=default_modality("audio"), executor="local")
    images = ingest(clips, tmp_path / "images", executor="local")
    assert open_dataset(images.location).rows == 2


def test_recordings_are_cut_as_those_that_a_model_was_trained_on(tmp_path: Path) -> None:
    cut = {"window": 32, "stride": 16, "time": "of this file alone"}
    settings = {"data": {"source": "x", "modality": "series", **cut}}
    experiment = from_mapping(
        settings | {"encoder": {"name": "resnet1d"}, "objective": {"name": "simclr"}}
    )
    stats = {name: {"least": n, "most": n} for name, n in (("length", 32), ("channels", 1))}
    encoder = encoders.build(experiment.encoder, experiment.modality(stats).spec)
    exported = export(experiment, encoder, stats)
    first = save_encoder(exported, tmp_path / "a", config=experiment.encoder).folder
    again = save_encoder(load_exported(first), tmp_path / "b", config=experiment.encoder).folder
    for folder in (first, again):
        taken = Taken.by(folder)
        assert taken == Taken("series", (("window", 32), ("stride", 16)))
        assert taken.options("all").settings == taken.settings
        samples = taken.samples()
        assert samples is not None
        assert samples.data.window == 32
