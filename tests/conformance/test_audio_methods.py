"""Methods on clips: log-mel grids and waveforms, finite, with gradients, the same on two ranks."""

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
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import AudioViewsConfig
from manta.objectives import Objective
from manta.ragged import Ragged, rows_of
from manta.training.batchnorm import synchronise

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


def run(name: str, rank: int, world: int) -> dict[str, Tensor]:
    """Take two steps on a rank's rows; return losses, and the gradients of the second."""
    objective = synchronise(objective_of(name, RESNET, torch.float64))
    model: Any = objective
    if world > 1:
        model = DistributedDataParallel(objective, broadcast_buffers=False)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.01)
    size, losses = ROWS // world, []
    for step in (20, 21):
        which = slice(rank * size, (rank + 1) * size)
        batch = batch_of(objective, which, step, torch.float64)
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
    torch.save({name: run(name, rank, world) for name in ("dcl", "byol")}, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_ranks_are_one(tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload(["torch", "timm", "manta.objectives"])
    mp.start_processes(worker, args=(2, str(tmp_path)), nprocs=2, start_method="forkserver")
    together = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name in ("dcl", "byol"):
        alone = run(name, 0, 1)
        mean = (together[0][name]["losses"] + together[1][name]["losses"]) / 2
        # Views are made in float32, whose last bit depends on how many rows there are.
        torch.testing.assert_close(mean, alone["losses"], rtol=1e-4, atol=1e-5)
        whole = torch.cat([alone[key].flatten() for key in alone if key != "losses"])
        for record in together:
            found = torch.cat([record[name][key].flatten() for key in alone if key != "losses"])
            assert float((found - whole).norm() / whole.norm()) < 1e-3
