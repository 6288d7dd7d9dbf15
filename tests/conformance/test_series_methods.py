"""Methods on series of equal and unequal lengths: finite, with gradients, the same on two ranks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from objective_kit import config_of, progress_at
from torch import Tensor

from conformance.two_ranks import RankCase, assert_two_ranks_are_one
from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import EncoderConfig
from manta.modalities.series import Series, SeriesConfig
from manta.modalities.series.views import SeriesViewsConfig
from manta.objectives import Objective
from manta.ragged import Data, Ragged, rows_of

ROWS, CHANNELS = 8, 2
EQUAL, UNEQUAL = [40] * ROWS, [40, 9, 33, 12, 7, 25, 18, 40]
RESNET = EncoderConfig(name="resnet1d", args={"widths": [8, 16]})
TCN = EncoderConfig(name="tcn", args={"hidden": 8, "depth": 3, "output": 16})
PATCHES = EncoderConfig(name="patchtst", args={"dim": 16, "depth": 2, "heads": 2, "patch": 5})
FREE = ("simclr", "dcl", "byol", "vicreg", "barlow_twins", "moco", "swav", "dino")


def modality(lengths: list[int]) -> Series:
    measures = {"length": (min(lengths), max(lengths)), "channels": (CHANNELS, CHANNELS)}
    stats = {name: {"least": least, "most": most} for name, (least, most) in measures.items()}
    return Series(SeriesConfig(source="x"), stats)


def series(lengths: list[int]) -> Tensor | Ragged:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(sum(lengths), CHANNELS, generator=generator)
    ragged = Ragged(values, torch.tensor(lengths))
    return ragged if lengths == UNEQUAL else values.view(ROWS, -1, CHANNELS)


def objective_of(
    name: str, config: EncoderConfig, lengths: list[int], dtype: torch.dtype
) -> Objective[Any]:
    torch.manual_seed(0)
    spec = modality(lengths).spec
    encoder = encoders.build(config, spec)
    return objectives.build(config_of(name), encoder, DataFacts(ROWS, spec)).to(dtype).train()


def batch_of(
    objective: Objective[Any], which: slice, step: int, lengths: list[int], dtype: torch.dtype
) -> Batch:
    """Return the views of a rank's rows, made by the rank."""
    views = modality(lengths).views(SeriesViewsConfig(), objective.needs)
    data, index = {"series": rows_of(series(lengths), which)}, torch.arange(ROWS)[which]
    batch = views(data, index, seed=0, step=step, rows=which, global_batch=ROWS)
    return Batch([replace(view, data=as_type(view.data, dtype)) for view in batch], batch.index)


def as_type(data: Data, dtype: torch.dtype) -> Data:
    if isinstance(data, Ragged):
        return Ragged(data.values.to(dtype), data.lengths)
    assert isinstance(data, Tensor)
    return data.to(dtype)


@pytest.mark.parametrize("lengths", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("config", [RESNET, TCN, PATCHES], ids=lambda config: config.name)
@pytest.mark.parametrize("name", FREE)
def test_methods_train_on_series(name: str, config: EncoderConfig, lengths: list[int]) -> None:
    objective = objective_of(name, config, lengths, torch.float32)
    batch = batch_of(objective, slice(0, ROWS), 0, lengths, torch.float32)
    loss = objective(batch, progress_at(20))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    for key, parameter in objective.encoder.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    objective.after_step(progress_at(20))


def test_masked_autoencoders_train_on_series_of_one_length() -> None:
    objective = objective_of("mae", PATCHES, EQUAL, torch.float32)
    batch = batch_of(objective, slice(0, ROWS), 0, EQUAL, torch.float32)
    loss = objective(batch, progress_at(20))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in objective.encoder.parameters())


CASES = [(name, lengths) for name in ("dcl", "byol") for lengths in (EQUAL, UNEQUAL)]


def batch_at(lengths: list[int], objective: Objective[Any], rows: slice, step: int) -> Batch:
    return batch_of(objective, rows, step, lengths, torch.float64)


def test_two_ranks_are_one_also_of_unequal_numbers_of_values(tmp_path: Path) -> None:
    cases = [
        RankCase(
            partial(objective_of, name, RESNET, lengths, torch.float64),
            partial(batch_at, lengths),
            ROWS,
        )
        for name, lengths in CASES
    ]
    assert_two_ranks_are_one(cases, tmp_path)
