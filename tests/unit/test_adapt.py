"""Preprocessing that is told to be another than that of pretraining."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from manta.encoders import EncoderConfig, build
from manta.errors import ConfigError
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.serving.adapt import Preparation, adapted
from manta.serving.embed import weights_of
from manta.spec import Spec

VIT = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 8}


def saved(folder: Path, config: EncoderConfig) -> Path:
    torch.manual_seed(0)
    exported = ExportedEncoder(
        build(config, Spec.image(32)), ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3)
    )
    return save_encoder(exported, folder, config=config).folder


def test_the_encoder_is_the_same_and_its_images_are_not(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", EncoderConfig(name="test_resnet"))
    change = Preparation(48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    other = adapted(folder, tmp_path / "other", change)
    mine, theirs = load_exported(folder), load_exported(other)
    images = torch.randint(
        0, 256, (2, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (change.mean, change.std))
    with torch.no_grad():
        expected = mine.encoder.embed((images.permute(0, 3, 1, 2) / 255 - mean) / std)
        torch.testing.assert_close(theirs(images), expected)
    assert weights_of(other) != weights_of(folder), (
        "nothing that was computed of one is taken for the other"
    )
    half = load_exported(
        adapted(folder, tmp_path / "half", Preparation(size=48))
    ).preprocess.describe()
    assert half == {"image_size": 48, "resize": 48, "mean": [0.5] * 3, "std": [0.25] * 3}


def test_a_size_that_an_encoder_does_not_take_is_one_line(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", EncoderConfig(name="vit_tiny_patch16_224", args=VIT))
    with pytest.raises(ConfigError, match="images of 32 px and none of 40; leave --size out"):
        adapted(folder, tmp_path / "other", Preparation(size=40))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size": 1}, "--size takes a number of pixels"),
        ({"mean": (0.5, 0.5)}, "--mean takes three numbers"),
        ({"mean": (127.0, 127.0, 127.0)}, "--mean takes three numbers from 0 to 1"),
        ({"std": (0.5, 0.5, 0.0)}, "--std takes three numbers above 0"),
    ],
)
def test_what_is_no_preparation_is_one_line(words: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preparation(**words)  # type: ignore[arg-type]


def test_results_are_told_apart_by_name() -> None:
    assert not Preparation()
    assert Preparation().name == ""
    assert Preparation(64).name == "at-64px"
    names = {
        Preparation(64, (0.5,) * 3).name,
        Preparation(64, (0.4,) * 3).name,
        Preparation(64, None, (0.5,) * 3).name,
    }
    assert len(names) == 3
    assert all(name.startswith("at-64px-normalised-") for name in names)
