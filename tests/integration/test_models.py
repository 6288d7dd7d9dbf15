"""Models in the registry, over SQLite and over a real server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tracking_server import Server

from manta.encoders import Encoder, EncoderConfig, build
from manta.errors import TrackingError
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.spec import Spec
from manta.tracking import (
    Tracker,
    download_model,
    log_model,
)

# Models


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportedEncoder, Path]:
    torch.manual_seed(0)
    config = EncoderConfig(name="resnet10t", stem="small")
    encoder = build(config, Spec.image(32)).to(memory_format=torch.channels_last)
    module = ExportedEncoder(encoder, ImagePreprocess(32, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    folder = tmp_path_factory.mktemp("encoder")
    save_encoder(module, folder, config=config)
    return module, folder


def assert_model_serves(uri: str, module: ExportedEncoder) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(uri)
    for shape in [(1, 32, 32, 3), (3, 20, 24, 3), (2, 100, 60, 3)]:
        images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(model.predict(images), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(np.zeros((1, 8, 8, 3)))  # the signature holds it to uint8


def test_a_model_goes_round(
    tracker: Tracker,
    exported: tuple[ExportedEncoder, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, folder = exported
    module.encoder.train()
    run_id = tracker.create_run("model", config={})
    log_model(tracker, run_id, module, name="manta-test", step=3)
    assert module.encoder.training  # the caller's module is as it was
    module.eval()
    found = log_model(
        tracker,
        run_id,
        module,
        name="manta-test",
        encoder_folder=folder,
        step=7,
        tags={"knn_top1": "0.9"},
    )
    assert (found.name, found.version, found.uri) == (
        "manta-test",
        "2",
        "models:/manta-test@candidate",
    )
    version = tracker.client.get_model_version_by_alias("manta-test", "candidate")
    assert (str(version.version), version.run_id, version.tags["knn_top1"]) == ("2", run_id, "0.9")
    outputs = tracker.client.get_run(run_id).outputs.model_outputs
    assert sorted(output.step for output in outputs) == [3, 7]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    # A machine with a GPU asks for CUDA unless the model says otherwise, and then refuses a graph
    # made on the CPU.
    monkeypatch.setenv("MLFLOW_DEFAULT_PREDICTION_DEVICE", "cuda")
    assert_model_serves(found.uri, module)

    local = download_model(tracker, found.uri, tmp_path / "download")
    requirements = (local / "requirements.txt").read_text()
    assert all(
        f"{package}==" in requirements for package in ("torch", "torchvision", "timm", "mlflow")
    )
    images = torch.randint(0, 256, (2, 40, 30, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(load_exported(local / "encoder")(images), module(images))
    with pytest.raises(TrackingError, match="cannot download models:/nothing@candidate"):
        download_model(tracker, "models:/nothing@candidate", tmp_path / "none")


def test_a_model_goes_round_through_a_server(
    server: Server,
    exported: tuple[ExportedEncoder, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, folder = exported
    module.eval()
    tracker = Tracker(server.uri, runs_dir=tmp_path)
    run_id = tracker.create_run("model", config={})
    found = log_model(tracker, run_id, module, name="served", encoder_folder=folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert_model_serves(found.uri, module)
    assert (server.folder / "artifacts").is_dir()


def test_an_encoder_that_cannot_be_traced_is_one_line(tracker: Tracker) -> None:
    class Capricious(Encoder):
        embed_dim = 3

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum().item() > 0 else x.amax((2, 3))

    module = ExportedEncoder(Capricious(), ImagePreprocess(32, (0, 0, 0), (1, 1, 1)))
    run_id = tracker.create_run("untraceable", config={})
    with pytest.raises(TrackingError, match="cannot be exported as a graph") as caught:
        log_model(tracker, run_id, module, name="untraceable")
    assert "\n" not in str(caught.value)
