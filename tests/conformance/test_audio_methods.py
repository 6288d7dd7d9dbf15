"""Methods on clips: log-mel grids and waveforms, finite, with gradients, the same on two ranks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from objective_kit import config_of, progress_at

from conformance.two_ranks import RankCase, assert_two_ranks_are_one
from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import EncoderConfig
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import AudioViewsConfig
from manta.objectives import Objective
from manta.ragged import Ragged, rows_of

ROWS = 8
AUDIO = Audio(AudioConfig(source="x", sample_rate=4000, seconds=0.31, mels=32), {})
RESNET = EncoderConfig(name="resnet10t", stem="small")
SIZES = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8}
VIT = EncoderConfig(name="vit_tiny_patch16_224", args=SIZES)
FREE = ("simclr", "dcl", "byol", "vicreg", "barlow_twins", "moco", "swav", "simsiam", "nnclr")


def clips() -> Ragged:
    """Return clips of 0.1 to 0.6 s: tones of several pitches in noise."""
    lengths = torch.linspace(400, 2400, ROWS).long()
    seconds = torch.cat([torch.arange(int(length)) / 4000 for length in lengths])
    pitch = torch.repeat_interleave(torch.linspace(100, 1500, ROWS), lengths)
    noise = torch.randn(len(seconds), generator=torch.Generator().manual_seed(0))
    return Ragged(0.3 * torch.sin(2 * torch.pi * pitch * seconds) + 0.02 * noise, lengths)


def objective_of(name: str, config: EncoderConfig, dtype: torch.dtype) -> Objective[Any]:
    torch.manual_seed(0)
    encoder = encoders.build(config, AUDIO.spec)
    facts = DataFacts(ROWS, AUDIO.spec, transform_width=10)
    return objectives.build(config_of(name), encoder, facts).to(dtype).train()


def batch_of(objective: Objective[Any], which: slice, step: int, dtype: torch.dtype) -> Batch:
    """Return the views of a rank's rows, made by the rank."""
    views = AUDIO.views(AudioViewsConfig(), objective.needs)
    data, index = {"audio": rows_of(clips(), which)}, torch.arange(ROWS)[which]
    batch = views(data, index, seed=0, step=step, rows=which, global_batch=ROWS)
    return Batch([replace(view, data=view.tensor.to(dtype)) for view in batch], batch.index)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *((name, RESNET) for name in FREE),
        ("dino", VIT),
        ("mae", VIT),
        ("msn", VIT),
        ("sie", RESNET),
    ],
    ids=str,
)
def test_methods_train_on_spectrograms(name: str, config: EncoderConfig) -> None:
    objective = objective_of(name, config, torch.float32)
    loss = objective(batch_of(objective, slice(0, ROWS), 0, torch.float32), progress_at(20))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [one.grad for one in objective.encoder.parameters() if one.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
    objective.after_step(progress_at(20))


def batch_at(objective: Objective[Any], rows: slice, step: int) -> Batch:
    return batch_of(objective, rows, step, torch.float64)


def test_two_ranks_are_one(tmp_path: Path) -> None:
    cases = [
        RankCase(partial(objective_of, name, RESNET, torch.float64), batch_at, ROWS)
        for name in ("dcl", "byol")
    ]
    assert_two_ranks_are_one(cases, tmp_path)
