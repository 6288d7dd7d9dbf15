"""`manta evaluate` and `manta compare` on saved encoders: the same rows, the same numbers, a paired
test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from manta.encoders import EncoderConfig, build
from manta.errors import ConfigError, RunError
from manta.evaluation.compare import compare_models
from manta.evaluation.evaluate import evaluate_model
from manta.evaluation.session import Observer
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, save_encoder
from manta.serving.adapt import Preparation
from manta.spec import Spec


def saved(folder: Path, *, blind: bool) -> str:
    """An untrained encoder; a blind one sees nothing but a constant."""
    torch.manual_seed(0)
    config = EncoderConfig(name="test_resnet")
    encoder = build(config, Spec.image(32))
    if blind:
        for parameter in encoder.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.ones_(
            next(module for module in encoder.modules() if hasattr(module, "running_var")).bias
        )
    exported = ExportedEncoder(encoder, ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3))
    return str(save_encoder(exported, folder, config=config).folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return saved(folder / "sees", blind=False), saved(folder / "blind", blind=True)


def test_models_stand_side_by_side_and_the_gain_is_paired(
    models: tuple[str, str], ray_cluster: str, tmp_path: Path
) -> None:
    sees, blind = models
    found = compare_models([blind, sees], "digits", evaluators=["knn"], runs=str(tmp_path / "runs"))
    gain = found["gains"][sees]["knn_top1"]
    values = [found["metrics"][model]["knn_top1"] for model in (blind, sees)]
    assert values[1] > 0.6 > 0.3 > values[0]
    assert gain["gain"] == pytest.approx(values[1] - values[0])
    assert 0.3 < gain["low"] < gain["gain"] < gain["high"] < 1
    low, high = found["intervals"][sees]["knn_top1"]
    assert low < values[1] < high
    assert found["query_rows"] + found["bank_rows"] == 1797
    embedded: list[tuple[int, int]] = []
    observer = Observer(embed=lambda done, rows: embedded.append((done, rows)))
    asked = {"runs": str(tmp_path / "runs"), "observer": observer}
    alone = evaluate_model(sees, "digits", evaluators=["knn", "lidar", "retrieval"], **asked)
    assert alone["metrics"]["knn_top1"] == values[1]
    assert alone["intervals"]["knn_top1"] == [low, high]
    assert set(alone["intervals"]) >= {"retrieval_map", "retrieval_recall1"}
    again = evaluate_model(
        sees, "digits", evaluators=["lidar", "rank"], out=str(tmp_path / "out"), **asked
    )
    assert embedded == [(1797, 1797)] * 2, "what was embedded once is read"
    assert again["metrics"]["lidar"] == alone["metrics"]["lidar"]
    assert Path(again["page"]) == tmp_path / "out/evaluation.html"
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == again["metrics"]


def test_classes_go_together_by_their_names(
    models: tuple[str, str], ray_cluster: str, tmp_path: Path, make_png: Callable[[int], bytes]
) -> None:
    # A photograph's nearest is itself in the other folder, whose classes are numbered otherwise.
    kinds = {"train": "cat dog emu", "test": "dog emu yak", "other": "gnu yak"}
    for source, names in kinds.items():
        for name in names.split():
            (tmp_path / source / name).mkdir(parents=True)
            for number in range(4):
                image = make_png(1000 * ord(name[0]) + number)
                (tmp_path / source / name / f"{number}.png").write_bytes(image)
    asked = {"bank": str(tmp_path / "train"), "evaluators": ["retrieval"], "runs": str(tmp_path)}
    found = evaluate_model(models[0], str(tmp_path / "test"), **asked)
    assert found["metrics"]["retrieval_recall1"] == 1.0
    assert "train lacks count as wrong; scored are all " in found["note"]
    assert "; 4 rows of classes that" in found["note"]
    with pytest.raises(ConfigError, match=r"no class in common \(cat, dog, emu against gnu, yak\)"):
        evaluate_model(models[0], str(tmp_path / "other"), **asked)


def test_rows_are_not_asked_after_themselves_and_data_may_move(
    models: tuple[str, str], ray_cluster: str, tmp_path: Path
) -> None:
    runs = str(tmp_path / "runs")
    first = evaluate_model(models[0], "digits", evaluators=["knn"], runs=runs)
    (here,) = (path for path in (tmp_path / "runs/datasets").iterdir() if path.is_dir())
    moved = here.rename(tmp_path / "moved.manta")
    again = evaluate_model(models[0], str(moved), evaluators=["knn"], runs=runs)
    assert again["metrics"] == first["metrics"], (
        "what was embedded is found by what it is, not by where it was"
    )
    larger = evaluate_model(
        models[0], str(moved), evaluators=["knn"], runs=runs, preparation=Preparation(size=48)
    )
    assert larger["model"]["image_size"] == 48
    assert larger["metrics"] != first["metrics"]
    assert "-at-48px/" in larger["page"]
    with pytest.raises(ConfigError, match="would find itself; leave --bank out"):
        evaluate_model(models[0], str(moved), bank=str(moved), evaluators=["knn"], runs=runs)


@pytest.mark.parametrize(
    ("names", "evaluators", "message"),
    [
        (["a"], ["knn"], "two models or more"),
        (["a", "a"], ["knn"], "each once"),
        (["a", "b"], ["knnn"], "did you mean 'knn'"),
        (["a", "b"], ["segmentation"], "needs images, masks"),
    ],
)
def test_what_cannot_be_compared_is_said_at_once(
    names: list[str], evaluators: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_models(names, "digits", evaluators=evaluators, runs=str(tmp_path))


def test_a_name_of_timms_is_pointed_to(ray_cluster: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="timm's model of that name is timm:resnet18"):
        evaluate_model("resnet18", "digits", runs=str(tmp_path))
