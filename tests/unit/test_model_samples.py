"""Data for a model: of its own modality, raw or ingested, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manta.data import ingest, open_dataset
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError, DataError
from manta.modalities import default_modality
from manta.models.samples import check_data, dataset_of, modality_taken
from odd.case import tree


def test_models_say_what_they_take_and_earlier_ones_take_images(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps({"modality": "audio"}))
    assert modality_taken(tmp_path) == "audio"
    (tmp_path / DESCRIPTION).write_text("{}")
    assert modality_taken(tmp_path) == "image"


def test_a_dataset_of_other_samples_is_refused_by_both_names(tmp_path: Path) -> None:
    images = ingest(tree(tmp_path / "in", "a.png", "b.png"), tmp_path / "out", executor="local")
    check_data(images.location, "image")
    assert dataset_of(images.location, "image", str(tmp_path)) == images.location
    refusal = r"holds images \(data.modality=image\), and the model takes clips; give it data of"
    for check in (check_data, lambda *args: dataset_of(*args, str(tmp_path))):
        with pytest.raises(ConfigError, match=refusal):
            check(images.location, "audio")


def test_files_are_sought_by_the_sources_of_the_modality(tmp_path: Path) -> None:
    np.save(tmp_path / "windows.npy", np.zeros((4, 32)))
    check_data(str(tmp_path / "windows.npy"), "series")
    with pytest.raises(DataError, match="is not read as it is"):
        check_data(str(tmp_path / "windows.npy"), "image")


def test_an_ingest_that_found_nothing_says_so_again(tmp_path: Path) -> None:
    """Its one shard is complete, so that the second finds nothing left to read."""
    clips = tree(tmp_path / "in", "a.png", "b.png")
    for _ in range(2):
        with pytest.raises(DataError, match="is a clip that can be read"):
            ingest(clips, tmp_path / "out", modality=default_modality("audio"), executor="local")
    images = ingest(clips, tmp_path / "images", executor="local")
    assert open_dataset(images.location).rows == 2
