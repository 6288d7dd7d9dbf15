"""Registered models and graphs of clips give the features of `manta embed`, whatever the rate."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch
from scipy.io import wavfile

from manta import encoders
from manta.data import ingest
from manta.encoders import EncoderConfig
from manta.modalities import default_modality
from manta.modalities.audio import AudioConfig
from manta.modalities.audio.preprocess import AudioPreprocess
from manta.modalities.audio.views import AudioViewsConfig
from manta.modalities.audio.wave_reader import middle, resampled
from manta.serving import ExportedEncoder, save_encoder
from manta.serving.embedder import Embedder
from manta.serving.formats import export_model
from manta.serving.job import Job, Pool
from manta.tracking.registry import _save

RATE = 8000
RATES = {"same": RATE, "cd": 44_100, "phone": 4_000, "studio": 96_000, "long": 22_050}
"""Of the files, by name; the long one is longer than clips are decoded."""


def chirp(name: str) -> npt.NDArray[np.float32]:
    """Return both channels of a file, `[T, 2]`: rising tones, which the second has at half."""
    rate = RATES[name]
    seconds = np.arange(round(rate * (3.0 if name == "long" else 0.5))) / rate
    tone = np.sin(2 * np.pi * (200 + 300 * seconds) * seconds)
    return np.stack([0.4 * tone, 0.2 * tone], axis=1).astype(np.float32)


def wav(name: str) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, RATES[name], chirp(name))
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved encoder of 0.31 s at 8 kHz, of the middle second of a clip at most."""
    data = AudioConfig(source="x", sample_rate=RATE, seconds=0.31, longest=1.0, mels=32)
    preprocess = AudioPreprocess.of(data, AudioViewsConfig())
    torch.manual_seed(0)
    config = EncoderConfig(name="test_resnet")
    encoder = encoders.build(config, preprocess.spec)
    path = tmp_path_factory.mktemp("encoder")
    return save_encoder(ExportedEncoder(encoder, preprocess), path, config=config).folder


@pytest.fixture(scope="module")
def embedded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Features of the files by name, as an actor of `manta embed` writes them."""
    place = tmp_path_factory.mktemp("clips")
    (place / "in").mkdir()
    for name in RATES:
        (place / "in" / f"{name}.wav").write_bytes(wav(name))
    audio = default_modality("audio")
    dataset = ingest(place / "in", place / "data", modality=audio, executor="local")
    files = {one.name: one.read_bytes() for one in folder.iterdir()}
    rows = len(RATES)
    job = Job("m", "w", dataset.location, dataset.digest, rows, rows, None, "float32", None)
    (place / "out").mkdir()
    Embedder((files, None), str(place / "out"), job, Pool()).write(0)
    (part,) = (place / "out").glob("part-*")
    table = pq.read_table(part).to_pylist()
    return {Path(row["path"]).stem: np.array(row["embedding"], np.float32) for row in table}


def assert_close(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow's own type hints
def test_a_registered_model_takes_waves_of_any_rate(
    folder: Path, embedded: dict[str, Any], tmp_path: Path
) -> None:
    import mlflow.pyfunc

    from manta.serving import load_exported

    logged: Any = SimpleNamespace(artifact_location="x", model_id="m-1")
    _save(load_exported(folder), tmp_path / "model", logged=logged, run_id="r")
    code = (tmp_path / "model/code/wave_reader.py").read_text()
    assert "import manta" not in code
    assert "from manta" not in code
    assert "scipy==" in (tmp_path / "model/requirements.txt").read_text()
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for name, rate in RATES.items():
        wave = chirp(name).mean(axis=1)[None]
        (found,) = model.predict(wave, params={"rate": rate})
        assert_close(found, embedded[name])
    assert_close(model.predict(chirp("same").mean(axis=1)[None])[0], embedded["same"])
    both = np.stack([chirp("cd").mean(axis=1), np.full(22_050, np.nan, np.float32)])
    found = model.predict(both, params={"rate": 44_100})
    assert_close(found[0], embedded["cd"])
    assert np.isfinite(found[1]).all()


def test_graphs_take_waves_that_were_brought_to_their_rate(
    folder: Path, embedded: dict[str, Any], tmp_path: Path
) -> None:
    import onnxruntime
    from scipy.signal import resample_poly

    export_model(folder, "onnx", tmp_path / "clips.onnx")
    assert (tmp_path / "clips.waves.json").read_text() == '{"rate": 8000, "longest": 1.0}'
    session = onnxruntime.InferenceSession(tmp_path / "clips.onnx")
    for name, rate in RATES.items():
        wave = chirp(name).mean(axis=1)
        start, stop = middle(len(wave), rate, 1.0)
        for plain, most in (
            (resampled(wave[start:stop], rate, RATE), 1e-4),
            (resample_poly(wave, RATE, rate), 2e-2),  # SciPy's own filter, which is shorter
        ):
            (found,) = session.run(None, {"waves": plain[None].astype(np.float32)})
            gap = np.abs(found[0] - embedded[name]).max() / np.abs(embedded[name]).max()
            assert gap < most
