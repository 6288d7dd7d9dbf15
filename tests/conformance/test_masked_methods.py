"""HuBERT on clips: units lie beside frames, its equation, what it refuses, two ranks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objective_kit import config_of, progress_at
from torch import Tensor

from conformance.two_ranks import RankCase, assert_two_ranks_are_one
from manta import encoders, objectives
from manta.batch import Batch, DataFacts, View
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.files import Place
from manta.materials import SampleSequences, write_sequences
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import AudioViewsConfig
from manta.objectives import Objective
from manta.ragged import Ragged, rows_of
from manta.spec import Spec

ROWS, RATE, STEP, UNITS = 8, 4000, 40, 12
AUDIO = Audio(AudioConfig(source="x", sample_rate=RATE, seconds=0.32, mels=None), {})
LENGTHS = torch.linspace(400, 2400, ROWS).long()
WAVE = EncoderConfig(
    name="wave",
    args={
        "channels": 16,
        "kernels": [8, 4, 4],
        "strides": [5, 4, 4],
        "dim": 32,
        "depth": 2,
        "heads": 2,
        "positions": 5,
        "groups": 4,
        "dropout": 0.0,
    },
)


def clips() -> Ragged:
    """Return clips of 0.1 to 0.6 s: tones in noise."""
    seconds = torch.cat([torch.arange(int(length)) / RATE for length in LENGTHS])
    pitch = torch.repeat_interleave(torch.linspace(100, 1500, ROWS), LENGTHS)
    noise = torch.randn(len(seconds), generator=torch.Generator().manual_seed(0))
    return Ragged(0.3 * torch.sin(2 * torch.pi * pitch * seconds) + 0.02 * noise, LENGTHS)


@lru_cache(maxsize=1)
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="manta-units-")


@lru_cache(maxsize=1)
def units() -> Path:
    """Return units of every 40 samples, of which the last ones of a clip have none."""
    folder = Path(scratch().name) / "units"
    lengths = ((LENGTHS - 60) // STEP).numpy()
    values = np.random.default_rng(0).integers(0, UNITS, lengths.sum())
    write_sequences(Place.of(folder), lengths, [values], np.uint8, step=STEP)
    return folder


def hubert(
    path: Path, *, dtype: torch.dtype = torch.float64, spec: Spec | None = None, **settings: Any
) -> Objective[Any]:
    torch.manual_seed(0)
    spec = spec or AUDIO.spec
    encoder = encoders.build(WAVE, spec)
    config = config_of("hubert", clusters=UNITS, mask_length=3, **settings)
    facts = DataFacts(ROWS, spec, {"units": path})
    return objectives.build(config, encoder, facts).to(dtype).train()


def batch_of(
    objective: Objective[Any], which: slice, step: int, views: Mapping[str, Any] | None = None
) -> Batch:
    """Return the views of a rank's rows, made by the rank."""
    pipeline = AUDIO.views(AudioViewsConfig(**(views or {})), objective.needs)
    data, index = {"audio": rows_of(clips(), which)}, torch.arange(ROWS)[which]
    batch = pipeline(data, index, seed=0, step=step, rows=which, global_batch=ROWS)
    return Batch([replace(view, data=view.tensor.double()) for view in batch], batch.index)


def expected_units(view: View, frames: int, *, backwards: Tensor | None = None) -> np.ndarray:
    """Return the unit whose begin is nearest to each frame's, frame by frame."""
    assert view.box is not None
    sequences = SampleSequences(units())
    out = np.full((ROWS, frames), -1)
    for row in range(ROWS):
        begin, end = view.box[row].tolist()
        own = sequences[torch.tensor([row])].values.tolist()
        for frame in range(frames):
            place = begin + frame * 80 * (end - begin) / 1280
            if backwards is not None and backwards[row]:
                place = end - (frame + 1) * 80 * (end - begin) / 1280
            number = int(np.floor(place / STEP + 0.5))
            if 0 <= number < len(own):
                out[row, frame] = own[number]
    return out


def expected_loss(objective: Objective[Any], view: View, targets: np.ndarray) -> float:
    """Return HuBERT's loss, frame by frame."""
    assert view.mask is not None
    tokens = objective.encoder.tokens(view.data, hide=view.mask)
    projected = objective.projector(tokens).detach().numpy()
    codes = objective.codes.weight.detach().numpy()
    means = np.zeros((ROWS, 2))
    for row in range(ROWS):
        each: list[list[float]] = [[], []]
        for frame in range(16):
            if targets[row, frame] < 0:
                continue
            p = projected[row, frame]
            cosines = codes @ p / np.linalg.norm(codes, axis=1) / np.linalg.norm(p)
            scores = np.exp(cosines / 0.1)
            loss = -np.log(scores[targets[row, frame]] / scores.sum())
            each[0 if view.mask[row, frame] else 1].append(loss)
        means[row] = [np.mean(losses) if losses else 0.0 for losses in each]
    alpha: float = objective.config.alpha
    return float(means.mean(0) @ [alpha, 1 - alpha])


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("views", [{}, {"speed": 0.4, "speed_prob": 1.0}], ids=["plain", "faster"])
@pytest.mark.parametrize("backwards", [False, True])
def test_units_of_hidden_frames_are_predicted(
    alpha: float, views: dict[str, Any], backwards: bool
) -> None:
    objective = hubert(units(), alpha=alpha)
    batch = batch_of(objective, slice(0, ROWS), 0, views)
    (view,) = batch.views
    assert view.mask is not None
    assert view.mask.shape == (ROWS, 16)
    flip = torch.arange(ROWS) % 2 == 0 if backwards else None
    view = replace(view, flip=flip)
    targets = expected_units(view, 16, backwards=flip)
    assert (targets < 0).any(), "some frames lie in the silence around their clip"
    terms = objective(Batch([view], batch.index), progress_at(0))
    expected = expected_loss(objective, view, targets)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert 0 <= terms["accuracy"].item() <= 1


def test_units_are_learnt() -> None:
    objective = hubert(units(), dtype=torch.float32)
    batch = batch_of(objective, slice(0, ROWS), 0)
    batch = Batch([replace(batch.views[0], data=batch.views[0].tensor.float())], batch.index)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = objective(batch, progress_at(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5 * np.log(UNITS)
    assert losses[-1] < 0.3 * losses[0]


def test_other_encoders_and_rows_without_places_are_refused(tmp_path: Path) -> None:
    facts = DataFacts(ROWS, Spec.image(32), {"units": units()})
    for name in ("test_resnet", "vit_tiny_patch16_224"):
        images = encoders.build(EncoderConfig(name=name), Spec.image(32))
        with pytest.raises(ConfigError, match=r"^objective\.name=hubert needs an encoder of f"):
            objectives.build(config_of("hubert"), images, facts)
    objective = hubert(units())
    batch = batch_of(objective, slice(0, ROWS), 0)
    nowhere = Batch([replace(batch.views[0], box=None)], batch.index)
    with pytest.raises(ConfigError, match="looks units up by the place of a view"):
        objective(nowhere, progress_at(0))
    unmasked = Batch([replace(batch.views[0], mask=None)], batch.index)
    with pytest.raises(ConfigError, match="was given a view without a mask"):
        objective(unmasked, progress_at(0))


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """Their clips have unequal numbers of frames with a unit."""
    cases = [RankCase(partial(hubert, units()), batch_of, ROWS)]
    assert_two_ranks_are_one(cases, tmp_path)
