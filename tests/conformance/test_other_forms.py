"""Methods that want a form of their data, on what is no image: grids of 1 to 3 axes, tokens."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from modality_kit import (
    PATCHTST,
    SAMPLES,
    VIT,
    Samples,
    batch_of,
    objective_of,
    walks,
    windows,
)
from objective_kit import config_of
from torch import Tensor, nn

from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress, View
from manta.encoders import Encoder, EncoderConfig
from manta.errors import ConfigError
from manta.functional import patchify
from manta.objectives import OBJECTIVES
from manta.objectives._positions import sincos_positions
from manta.ragged import Data, Ragged
from manta.spec import Spec

ROWS, CHANNELS = 8, 2
EVEN = (40,) * ROWS


class Frames(Encoder):
    """A linear layer on each frame, and the mean over the frames of a sequence."""

    takes = ("sequence",)
    embed_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(CHANNELS, 16), nn.Tanh(), nn.Linear(16, 16))

    def embed(self, x: Tensor | Ragged) -> Tensor:
        if isinstance(x, Tensor):
            return self.layer(x.mT).mean(1)
        values, there = x.padded()
        return (self.layer(values) * there.unsqueeze(2)).sum(1) / there.sum(1, keepdim=True)


def data_of(spec: Spec, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    return spec.example(ROWS, generator=generator)


def test_a_method_that_mixes_samples_refuses_rows_of_unequal_lengths() -> None:
    spec = Spec("sequence", CHANNELS, (None,))
    objective = objectives.build(config_of("mixed_barlow"), Frames(), DataFacts(ROWS, spec))
    batch = Batch([View(data_of(spec, seed)) for seed in range(2)], torch.arange(ROWS))
    with pytest.raises(ConfigError, match="this method computes on samples of one size"):
        objective(batch, Progress(0, 10))


@pytest.mark.parametrize("name", ["pirl", "scatsimclr", "unicon_ha", "sie", "distill"])
def test_methods_of_images_refuse_other_data_by_name(name: str, tmp_path: Any) -> None:
    facts = DataFacts(ROWS, Spec("sequence", CHANNELS, (24,)), {"teacher": tmp_path})
    with pytest.raises(ConfigError, match=f"objective.name={name}"):
        objectives.build(config_of(name), Frames(), facts)


class Cells(Encoder):
    """A token encoder over patches of 4 along each of n axes."""

    embed_dim = 16
    prefix_tokens = 0

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.takes = (spec.form,)
        self.patch_size = (4,) * len(spec.sides)
        self.grid = tuple(side // 4 for side in spec.sides)
        self.layer = nn.Linear(spec.channels * 4 ** len(self.grid), 16)
        self.mix = nn.Linear(16, 16)

    def patches(self, x: Tensor) -> Tensor:
        return patchify(x, self.patch_size)

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        tokens: Tensor = self.layer(self.patches(x))
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, 16))
        return self.mix(tokens) + tokens.mean(1, keepdim=True)

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)

    def embed(self, x: Tensor) -> Tensor:
        return self.pool(self.tokens(x))


@pytest.mark.parametrize(
    "spec",
    [
        Spec("sequence", 2, (32,)),
        Spec("grid", 1, (16, 24)),
        Spec("grid", 1, (8, 8, 8)),
    ],
    ids=str,
)
def test_mae_hides_patches_of_any_number_of_axes(spec: Spec) -> None:
    torch.manual_seed(0)
    objective = objectives.build(config_of("mae"), Cells(spec), DataFacts(ROWS, spec)).train()
    count = len(objective.encoder.patches(data_of(spec, 0))[0])
    mask = torch.zeros(ROWS, count, dtype=torch.bool)
    mask[:, : round(0.75 * count)] = True
    batch = Batch([View(data_of(spec, 0), mask=mask)], torch.arange(ROWS))
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(30):
        loss = objective(batch, Progress(step, 30))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_positions_tell_cells_apart_in_one_to_three_axes() -> None:
    for grid in ((12,), (3, 4), (2, 3, 4)):
        positions = sincos_positions(grid, 32)
        count = 24 if len(grid) == 3 else 12
        assert positions.shape == (count, 32)
        assert torch.cdist(positions, positions).add(torch.eye(count)).min() > 0.1


@pytest.mark.parametrize("name", ["simclr", "mae", "lvm_med", "mokd"])
def test_one_channel_grids_of_unequal_sides_train(name: str) -> None:
    torch.manual_seed(0)
    spec = Spec("grid", 1, (32, 40))
    args = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8, "global_pool": "avg"}
    encoder = encoders.build(EncoderConfig(name="vit_tiny_patch16_224", args=args), spec)
    overrides = {"partner": {"name": "test_resnet"}, "local_views": 0} if name == "mokd" else {}
    objective = OBJECTIVES[name](config_of(name, **overrides), encoder, DataFacts(ROWS, spec))
    mask = torch.zeros(ROWS, 20, dtype=torch.bool)
    mask[:, :15] = True
    count = objective.needs.global_views
    views = [View(data_of(spec, seed), mask=mask if count == 1 else None) for seed in range(count)]
    loss = objective(Batch(views, torch.arange(ROWS)), Progress(0, 10))["loss"]
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("mae", Samples(partial(windows, EVEN), partial(walks, EVEN), (PATCHTST,))),
        *((name, replace(SAMPLES["audio"], encoders=(VIT,))) for name in ("dino", "mae", "msn")),
        ("sie", SAMPLES["audio"]),
    ],
)
def test_methods_of_tokens_and_of_transformations_train(name: str, samples: Samples) -> None:
    objective = objective_of(name, samples, torch.float32)
    batch = batch_of(samples, objective, dtype=torch.float32)
    loss = objective(batch, Progress(20, 40))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    named = objective.encoder.named_parameters()
    missing = [key for key, one in named if one.requires_grad and one.grad is None]
    assert not missing
    objective.after_step(Progress(20, 40))
