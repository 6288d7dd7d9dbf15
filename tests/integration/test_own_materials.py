"""A method's own material, in the method's own file; and units of an encoder's layer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ray import cloudpickle
from sklearn.datasets import load_digits
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress
from manta.config import Experiment, from_mapping
from manta.data import Manifest, ingest, open_dataset
from manta.encoders import Encoder, EncoderConfig, build
from manta.errors import ConfigError
from manta.materials import MATERIALS, Material, RowReader, Target, Workshop
from manta.modalities.image import ImageDecoder
from manta.modalities.image.preprocess import ImagePreprocess
from manta.objectives import (
    OBJECTIVES,
    LayerFrames,
    Objective,
    ObjectiveConfig,
    SampleSequences,
    SampleValues,
    UnitsMaterial,
)
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths, reuse
from manta.serving import ExportedEncoder, save_encoder
from manta.serving.job import Pool
from manta.spec import Spec
from manta.tracking import Tracker
from manta.training.preflight import built
from manta.workshop import driver
from manta.workshop.prepare import prepare_materials

# As a script's or a notebook's classes are, which no worker can import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Brightness:
    """Work that tells by how bright it is which of so many equal bands an image is in."""

    bands: int

    def open(self, data: RowReader) -> Callable[[np.ndarray], np.ndarray]:
        def banded(rows: np.ndarray) -> np.ndarray:
            means = data.decoded(rows, ImageDecoder(8))["image"].mean(axis=(1, 2, 3))
            return (means * self.bands // 256).astype(np.int32)

        return banded


@MATERIALS.register("test_brightness")
@dataclass(frozen=True)
class BrightnessMaterial(Material):
    """A table of each image's band of brightness."""

    bands: int

    def make(self, workshop: Workshop, target: Target) -> None:
        workshop.notify("looking at brightness")
        rows = np.arange(workshop.rows)
        with target.table(np.int32, workshop.rows) as table:
            for number, bands in workshop.over_rows(Brightness(self.bands), rows, chunk=500):
                table[number * 500 : number * 500 + len(bands)] = bands


class BrightnessConfig(ObjectiveConfig):
    """Settings of the toy."""

    name: Literal["test_brightness"] = "test_brightness"
    bands: int = 64
    model: str | None = None


@OBJECTIVES.register("test_brightness")
class BrightnessObjective(Objective[BrightnessConfig]):
    """Tell how bright an image is, and which units it has."""

    Config = BrightnessConfig

    def __init__(self, config: BrightnessConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.bands = SampleValues(data.materials["bands"])
        self.units = None
        if config.model is not None:
            self.units = SampleSequences(data.materials["units"])
        self.head = torch.nn.Linear(encoder.embed_dim, config.bands)

    @classmethod
    def materials(cls, config: BrightnessConfig) -> Mapping[str, Material]:
        wanted: dict[str, Material] = {"bands": BrightnessMaterial(config.bands)}
        if config.model is not None:
            wanted["units"] = UnitsMaterial(LayerFrames(config.model, "layer3"), 6)
        return wanted

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits = self.head(self.encoder(batch.views[0].data))
        return {"loss": F.cross_entropy(logits, self.bands[batch.index])}


@pytest.fixture(scope="module")
def digits(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    target = tmp_path_factory.mktemp("data") / "digits.manta"
    ingest("digits", str(target))
    return open_dataset(str(target))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    config = EncoderConfig(name="test_resnet")
    encoder = build(config, Spec.image(32))
    exported = ExportedEncoder(encoder, ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3))
    return str(save_encoder(exported, tmp_path_factory.mktemp("model"), config=config).folder)


def experiment(**changes: Any) -> Experiment:
    return from_mapping(
        {
            "data": {"source": "digits", "image_size": 32},
            "encoder": {"name": "test_resnet"},
            "objective": {"name": "test_brightness", **changes},
        }
    )


def test_a_method_brings_its_own(digits: Manifest, tracker: Tracker, tmp_path: Path) -> None:
    wanted, folder, told = experiment(), RunFolder(tmp_path / "run"), list[str]()
    _, objective = built(wanted)
    assert isinstance(objective, BrightnessObjective), "it is tried with a placeholder"

    def prepare(into: RunFolder) -> np.ndarray:
        prepare_materials(wanted, digits, into, tracker, runs=str(tmp_path), notify=told.append)
        (path,) = local_paths(wanted, into).values()
        return np.load(path)

    table = prepare(folder)
    pixels = load_digits().images.mean(axis=(1, 2))
    assert table.shape == (1797,)
    assert np.corrcoef(pixels, table)[0, 1] > 0.7, "each row has its own"
    assert len(np.unique(table)) > 1
    assert np.array_equal(prepare(folder), table)
    other = RunFolder(tmp_path / "trial")
    reuse(wanted, other, folder)
    assert np.array_equal(prepare(other), table)
    assert told == ["looking at brightness"], "neither a resume nor a trial makes it again"
    assert "test_brightness" in MATERIALS


def test_units_of_a_layer_do_not_depend_on_the_tasks(
    digits: Manifest, model: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = experiment(model=model)
    made = []
    for actors in (1, 2):
        pool = Pool(least=actors, most=actors, cpus=0.5, threads=1)
        monkeypatch.setattr(driver, "_pool", lambda pool=pool: pool)
        folder = RunFolder(tmp_path / str(actors))
        prepare_materials(
            wanted, digits, folder, tracker, runs=str(tmp_path), notify=lambda _line: None
        )
        made.append(local_paths(wanted, folder)["units"])
        assert folder.list("materials") == ["bands.npy", "materials.json", "units"]
        assert folder.list("materials", "units") == ["centroids.npy", "offsets.npy", "values.npy"]
    for file in ("values.npy", "offsets.npy", "centroids.npy"):
        assert (made[0] / file).read_bytes() == (made[1] / file).read_bytes()
    units = SampleSequences(made[0])
    lengths = units.lengths(torch.arange(1797))
    assert len(set(lengths.tolist())) == 1, "images of one size have equally many cells"
    assert int(lengths[0]) > 1
    assert sorted(np.unique(units.values)) == list(range(6))


def test_a_layer_that_is_not_there_is_said_before_the_tasks(
    digits: Manifest, model: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = UnitsMaterial(LayerFrames(model, "layer9"), 6)
    monkeypatch.setattr(
        BrightnessObjective, "materials", classmethod(lambda cls, config: {"units": wanted})
    )
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigError, match="the encoder has no layer 'layer9'"):
        prepare_materials(
            experiment(), digits, folder, tracker, runs=str(tmp_path), notify=lambda _line: None
        )
