"""Two steps of methods on two ranks, held against the same on one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from conformance.objective_kit import progress_at
from manta.batch import Batch
from manta.objectives import Objective
from manta.training.batchnorm import synchronise

Record = dict[str, Tensor]
"""Losses of both steps, and the gradients of the second by the names of their parameters."""


@dataclass(frozen=True)
class RankCase:
    """A method and its data; both functions can be pickled.

    Attributes:
        name: for whoever reads that it failed.
        objective: builds it, in float64.
        batch: makes the views of some rows of the global batch, at a step.
        rows: of the global batch.
    """

    name: str
    objective: Callable[[], Objective[Any]]
    batch: Callable[[Objective[Any], slice, int], Batch]
    rows: int


def two_steps(case: RankCase, rank: int, world: int) -> Record:
    """Take two steps on a rank's rows; return losses, and the gradients of the second."""
    objective = synchronise(case.objective())
    model: Any = objective
    if world > 1:
        model = DistributedDataParallel(objective, broadcast_buffers=False)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.01)
    size, losses = case.rows // world, []
    for step in (20, 21):
        batch = case.batch(objective, slice(rank * size, (rank + 1) * size), step)
        optimizer.zero_grad(set_to_none=True)
        loss = model(batch, progress_at(step))["loss"]
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
        objective.after_step(progress_at(step))
    named = objective.named_parameters()
    gradients = {key: one.grad for key, one in named if one.grad is not None}
    return {"losses": torch.stack(losses), **gradients}


@contextmanager
def joined_by(rank: int, world: int, folder: str) -> Iterator[None]:
    """Make this process one of `world` ranks, which meet in a folder."""
    torch.set_num_threads(1)
    where = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=world)
    yield
    dist.destroy_process_group()


def worker(rank: int, world: int, folder: str, cases: Sequence[RankCase]) -> None:
    with joined_by(rank, world, folder):
        records = []
        for case in cases:
            try:
                records.append(two_steps(case, rank, world))
            except Exception as error:
                error.add_note(f"{case.name}, rank {rank}")
                raise
        torch.save(records, f"{folder}/{rank}.pt")
        dist.barrier()


def on_two_ranks(cases: Sequence[RankCase], folder: Path) -> list[list[Record]]:
    """Return what `two_steps` gives on each of two ranks, by case."""
    multiprocessing.set_forkserver_preload(["torch", "timm", "manta.objectives"])
    args = (2, str(folder), cases)
    mp.start_processes(worker, args=args, nprocs=2, start_method="forkserver")
    ranks = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return [list(records) for records in zip(*ranks, strict=True)]


def assert_two_ranks_are_one(cases: Sequence[RankCase], folder: Path) -> None:
    """Check that two ranks have the losses and gradients of the whole batch."""
    for case, records in zip(cases, on_two_ranks(cases, folder), strict=True):
        assert_are_one(records, two_steps(case, 0, 1), case.name)


def assert_are_one(records: Sequence[Record], alone: Record, name: str) -> None:
    """Check that the ranks' records are that of one process with the whole batch."""
    mean = torch.stack([record["losses"] for record in records]).mean(0)
    # Views are made in float32, whose last bit depends on how many rows there are.
    torch.testing.assert_close(mean, alone["losses"], rtol=1e-4, atol=1e-5, msg=name)
    names = sorted(alone.keys() - {"losses"})
    whole = torch.cat([alone[key].flatten() for key in names])
    for record in records:
        assert record.keys() == alone.keys(), name
        parts = torch.cat([record[key].flatten() for key in names])
        assert float((parts - whole).norm() / whole.norm()) < 1e-3, name
