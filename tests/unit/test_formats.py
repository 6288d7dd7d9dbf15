from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch import Tensor, nn

from manta import encoders, objectives
from manta.batch import DataFacts
from manta.encoders import Encoder, EncoderConfig, build
from manta.encoders._config import ENCODERS
from manta.errors import ConfigError, MantaError, RunError
from manta.modalities.image.preprocess import ImagePreprocess, photographs
from manta.objectives.byol import BYOLConfig
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.serving.formats import TOLERANCE, Format, export_model, head_weights
from manta.spec import Spec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SHAPES = [(1, 32, 32, 3), (3, 70, 41, 3), (7, 25, 90, 3)]


def saved(folder: Path, config: EncoderConfig) -> ExportedEncoder:
    torch.manual_seed(0)
    module = ExportedEncoder(build(config, Spec.image(32)), ImagePreprocess(32, MEAN, STD))
    for layer in module.encoder.modules():  # statistics that a fresh encoder does not have
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.normal_(std=0.1)
    save_encoder(module, folder, config=config)
    return module


def _by_timm(out: Path) -> Callable[[Tensor], Tensor]:
    model = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    config = model.pretrained_cfg
    mean, std = (
        torch.tensor(config["mean"]).view(3, 1, 1),
        torch.tensor(config["std"]).view(3, 1, 1),
    )
    # Preprocessing from timm's own words, for images that are of the right size already.
    return lambda images: model((images.permute(0, 3, 1, 2) / 255 - mean) / std)


def _by_onnxruntime(out: Path) -> Callable[[Tensor], Tensor]:
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


USERS: dict[Format, Callable[[Path], Callable[[Tensor], Tensor]]] = {
    "timm": _by_timm,
    "safetensors": load_exported,
    "pt2": lambda out: torch.export.load(out).module(),
    "onnx": _by_onnxruntime,
}
FILES = {
    "timm": {"config.json", "manta.json", "model.safetensors"},
    "safetensors": {"manta.json", "model.safetensors"},
}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("format", get_args(Format))
def test_users_of_every_format_get_the_same_features(
    name: str, format: Format, tmp_path: Path
) -> None:
    source = saved(tmp_path / "encoder", EncoderConfig(name=name))
    out = tmp_path / "exports" / f"out.{format}"
    found = export_model(tmp_path / "encoder", format, out)
    assert found.error < found.tolerance == TOLERANCE[format]
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert (
        {path.name for path in out.iterdir()} == FILES[format] if format in FILES else out.is_file()
    )
    run = USERS[format](out)
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for shape in SHAPES[:1] if format == "timm" else SHAPES:
            images = torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))
            expected = source(images)
            largest = float(expected.abs().max())
            torch.testing.assert_close(
                run(images), expected, atol=TOLERANCE[format] * largest, rtol=0
            )


def test_what_it_is_tried_on_are_photographs_of_every_shape() -> None:
    batches = photographs()
    assert [len(batch) for batch in batches] == [1, 2, 5]
    assert {(h > w) - (h < w) for _, h, w, _ in (batch.shape for batch in batches)} == {-1, 0, 1}
    assert all(batch.dtype == torch.uint8 and batch.float().std() > 20 for batch in batches)


def test_timm_is_not_given_what_it_would_build_differently(tmp_path: Path) -> None:
    saved(tmp_path / "encoder", EncoderConfig(name="resnet10t", stem="small"))
    with pytest.raises(ConfigError, match="timm cannot build this resnet10t"):
        export_model(tmp_path / "encoder", "timm", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


class Odd(Encoder):
    """Not the same when it is traced, or not to be traced at all."""

    embed_dim = 3

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        self.branches = branches
        self.scale = nn.Parameter(torch.ones(3))

    def embed(self, x: Tensor) -> Tensor:
        if self.branches and x.mean().item() > 1e6:
            return x.amin((2, 3))
        return self.scale * (x.amax((2, 3)) if torch.compiler.is_exporting() else x.mean((2, 3)))


@pytest.mark.parametrize(
    ("branches", "says"), [(False, "gives other features"), (True, "cannot be exported as")]
)
@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_what_is_not_the_source_is_not_handed_over(
    format: Format, branches: bool, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS._components, "odd", lambda config, size: Odd(branches=branches))
    saved(tmp_path / "encoder", EncoderConfig(name="odd"))
    with pytest.raises(RunError, match=says) as caught:
        export_model(tmp_path / "encoder", format, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_nothing_is_written_over_and_formats_are_known(tmp_path: Path) -> None:
    saved(tmp_path / "encoder", EncoderConfig(name="test_resnet"))
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        export_model(tmp_path / "encoder", "safetensors", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
    odd: Any = "tflite"
    with pytest.raises(ConfigError, match="timm, safetensors, pt2, onnx"):
        export_model(tmp_path / "encoder", odd, tmp_path / "new")


class Poison:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize(
    "place", ["model.safetensors", "pytorch_model.bin", "model.pth", "argument"]
)
@pytest.mark.parametrize("format", ["timm", "safetensors"])
def test_a_poisoned_folder_is_refused_and_not_executed(
    format: Format, place: str, tmp_path: Path
) -> None:
    folder, mark = tmp_path / "encoder", tmp_path / "mark"
    saved(folder, EncoderConfig(name="test_resnet"))
    poison = pickle.dumps(Poison(mark))
    pickle.loads(poison)
    assert mark.exists()  # it works
    mark.unlink()
    if place == "argument":  # of timm.create_model, which loads what it names
        (folder / "weights.pth").write_bytes(poison)
        description = json.loads((folder / "manta.json").read_text())
        description["encoder"]["args"]["checkpoint_path"] = str(folder / "weights.pth")
        (folder / "manta.json").write_text(json.dumps(description))
        export_model(
            folder, format, tmp_path / "out"
        )  # what lies beside the weights is not looked at
        assert "checkpoint_path" not in "".join(
            path.read_text() for path in (tmp_path / "out").glob("*.json")
        )
    else:
        (folder / "model.safetensors").unlink()
        (folder / place).write_bytes(poison)
        with pytest.raises(RunError, match="holds no encoder saved by Manta"):
            export_model(folder, format, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    assert not mark.exists()


def byol(seed: int) -> objectives.Objective[Any]:
    torch.manual_seed(seed)
    encoder = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(32))
    return objectives.build(BYOLConfig(), encoder, DataFacts(100, 32))


def test_heads_are_what_an_objective_learns_beside_its_encoders() -> None:
    first, second = byol(0), byol(1)
    weights = head_weights(first)
    parts = {"projector.", "predictor.", "teacher.1."}
    assert {next(part for part in parts if name.startswith(part)) for name in weights} == parts
    assert any(name.endswith("running_mean") for name in weights)
    second.load_state_dict(weights, strict=False)
    second.encoder.load_state_dict(first.encoder.state_dict())
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        expected, actual = (
            nn.Sequential(one.encoder, one.projector, one.predictor).eval()(x)
            for one in (first, second)
        )
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)


def test_queues_are_no_heads_and_an_encoder_alone_has_none() -> None:
    objective = byol(0)
    objective.register_buffer("queue", torch.zeros(50, 3))
    assert "queue" not in head_weights(objective)
    with pytest.raises(MantaError, match="has no heads"):
        head_weights(nn.Sequential(objective.encoder))
