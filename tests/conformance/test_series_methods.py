"""Methods on series of equal and unequal lengths: finite, with gradients, the same on two ranks."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from objective_kit import config_of, progress_at
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import EncoderConfig
from manta.modalities.series import Series, SeriesConfig
from manta.modalities.series.views import SeriesViewsConfig
from manta.objectives import Objective
from manta.ragged import Data, Ragged, rows_of
from manta.training.batchnorm import synchronise

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
    return ragged if lengths is UNEQUAL else values.view(ROWS, -1, CHANNELS)


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


def run(name: str, lengths: list[int], rank: int, world: int) -> dict[str, Tensor]:
    """Take two steps on a rank's rows; return losses, and the gradients of the second."""
    objective = synchronise(objective_of(name, RESNET, lengths, torch.float64))
    model: Any = objective
    if world > 1:
        model = DistributedDataParallel(objective, broadcast_buffers=False)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.01)
    size, losses = ROWS // world, []
    for step in (20, 21):
        which = slice(rank * size, (rank + 1) * size)
        batch = batch_of(objective, which, step, lengths, torch.float64)
        optimizer.zero_grad(set_to_none=True)
        loss = model(batch, progress_at(step))["loss"]
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
        objective.after_step(progress_at(step))
    named = objective.named_parameters()
    gradients = {key: one.grad for key, one in named if one.grad is not None}
    return {"losses": torch.stack(losses), **gradients}


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    where = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=world)
    records = [run(name, lengths, rank, world) for name, lengths in CASES]
    torch.save(records, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_ranks_are_one_also_of_unequal_numbers_of_values(tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload(["torch", "timm", "manta.objectives"])
    mp.start_processes(worker, args=(2, str(tmp_path)), nprocs=2, start_method="forkserver")
    together = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for number, (name, lengths) in enumerate(CASES):
        alone = run(name, lengths, 0, 1)
        mean = (together[0][number]["losses"] + together[1][number]["losses"]) / 2
        # Views are made in float32, whose last bit depends on how many rows there are.
        torch.testing.assert_close(mean, alone["losses"], rtol=1e-4, atol=1e-5)
        whole = torch.cat([alone[key].flatten() for key in alone if key != "losses"])
        for record in together:
            found = torch.cat([record[number][key].flatten() for key in alone if key != "losses"])
            assert float((found - whole).norm() / whole.norm()) < 1e-3
