"""Units of clips by Ray Data jobs: of their cepstra, and of whole waves in a layer of a model."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import pairwise_distances_argmin

from manta import encoders
from manta.config import Experiment, from_mapping
from manta.data import ingest, open_dataset
from manta.encoders import EncoderConfig
from manta.encoders.wave import Wave
from manta.materials import SampleSequences
from manta.modalities import default_modality
from manta.modalities.audio.cepstra import mfcc, with_derivatives
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths
from manta.serving import ExportedEncoder, load_exported, save_encoder
from manta.tracking import Tracker
from manta.workshop.prepare import prepare_materials

RATE, LENGTHS = 4000, [3000, 500, 1234, 39, 2048, 3999]
ENCODER = {
    "name": "wave",
    "args": {
        "channels": 8,
        "kernels": [8, 5],
        "strides": [8, 5],
        "dim": 16,
        "depth": 2,
        "heads": 2,
        "groups": 4,
        "positions": 5,
    },
}


def written(folder: Path) -> list[np.ndarray]:
    """Write clips of noise; return their samples."""
    folder.mkdir()
    clips = []
    for number, length in enumerate(LENGTHS):
        noise = np.random.default_rng(number).normal(0, 3000, length).astype("<i2")
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, length, "NONE", ""))
            file.writeframes(noise.tobytes())
        clips.append(noise.astype(np.float32) / 32768)
    return clips


def experiment(rate: int, **objective: object) -> Experiment:
    data = {"modality": "audio", "source": "x", "mels": None, "sample_rate": rate, "seconds": 0.4}
    return from_mapping(
        {
            "data": data,
            "encoder": ENCODER,
            "objective": {"name": "hubert", "clusters": 4, **objective},
        }
    )


def test_units_are_of_whole_clips(ray_cluster: str, tracker: Tracker, tmp_path: Path) -> None:
    clips = written(tmp_path / "clips")
    audio = default_modality("audio")
    ingest(str(tmp_path / "clips"), str(tmp_path / "clips.manta"), modality=audio)
    manifest = open_dataset(str(tmp_path / "clips.manta"))

    def units(wanted: Experiment, name: str) -> tuple[SampleSequences, np.ndarray]:
        folder = RunFolder(tmp_path / name)
        prepare_materials(
            wanted, manifest, folder, tracker, runs=str(tmp_path), notify=lambda _line: None
        )
        path = local_paths(wanted, folder)["units"]
        return SampleSequences(path), np.load(path / "centroids.npy")

    first, centroids = units(experiment(RATE), "first")
    assert first.step == 0.01 * RATE
    for row, clip in enumerate(clips):
        frames = with_derivatives(mfcc(clip, RATE)).astype(np.float32)
        expected = pairwise_distances_argmin(frames, centroids)
        assert first[torch.tensor([row])].values.tolist() == expected.tolist()

    torch.manual_seed(0)
    config, taken = EncoderConfig.model_validate(ENCODER), experiment(RATE)
    modality = taken.modality(manifest.stats)
    encoder = encoders.build(config, modality.spec)
    assert isinstance(encoder, Wave)
    encoder.learn_hidden()  # as an objective does, and a file leaves it out
    exported = ExportedEncoder(encoder, modality.preprocess(taken.views))
    model = str(save_encoder(exported, tmp_path / "model", config=config).folder)
    wanted = experiment(2 * RATE, model=model, layer="blocks.0")
    second, centroids = units(wanted, "second")
    assert second.step == 2 * 40, "in the samples of the run that wants them"
    loaded = load_exported(model).encoder.eval()
    assert isinstance(loaded, Wave)
    with torch.no_grad():
        for row, clip in enumerate(clips):
            whole = torch.from_numpy(clip / 0.1).view(1, 1, -1)
            frames = loaded.layers(whole)[0][0].numpy()
            assert len(frames) == max(len(clip) // 40, 1)
            expected = pairwise_distances_argmin(frames, centroids)
            assert second[torch.tensor([row])].values.tolist() == expected.tolist()
