"""Tests of every registered objective on 2 and 4 ranks: equal gradients, equal state.

The ranks are gloo processes under DistributedDataParallel; the reference is one process with the
global batch. Everything is in float64, so that a difference is a mistake. The steps are of the
middle of a run, where no warm-up is left that would keep a part of the method out.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from objective_kit import NAMES, TOTAL_STEPS, batch_of, objective_of, progress_at, rows_of
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from manta.objectives import OBJECTIVES, Communicator, Exchange
from manta.training.batchnorm import synchronise

ROWS, START = 8, TOTAL_STEPS // 2
WORLDS = (2, pytest.param(4, marks=pytest.mark.long))  # four take two minutes of two cores
UNGATHERED = "simclr without its gather"
SHARED = "a gradient that two gathers share"


@dataclass(frozen=True)
class Case:
    """An objective in a run.

    Attributes:
        given: in place of its defaults.
        steps: how many; three where a memory is full after two.
        again: the same samples at each step, as in later epochs; else others, as a queue has them.
    """

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    steps: int = 2
    again: bool = False


CONFIGURED = {  # what an objective's defaults do not reach in two steps
    "dcl with sigma": Case("dcl", {"sigma": 0.5}),
    "moco v3": Case("moco", {"version": "v3"}),
    "swav, its queue full": Case("swav", {"queue": 12, "prototypes": 16}, steps=3),
    "beclr, its memory full": Case("beclr", {"memory": 16, "clusters": 4}, steps=3),
    "mugs, its memories full": Case("mugs", {"memory": 16, "queue": 16, "neighbours": 4}, steps=3),
    "pirl, samples seen before": Case("pirl", again=True),
    "isogclr, samples seen before": Case("isogclr", again=True),
    "pal, an oracle of labels": Case("pal", {"oracle": "label", "budget": 0.7}),
    "pal, simclr's loss": Case("pal", {"oracle": "label", "loss": "simclr"}),
    "unicon_ha, two outliers": Case(
        "unicon_ha", {"outliers": 2, "weight_temperature": 0.1, "stage_weights": [0.5, 2]}
    ),
    "gsimclr, three clusters": Case("gsimclr", {"model": "given", "clusters": 3}),
    "distill by squares": Case("distill", {"loss": "mse"}),
}
SUBJECTS = (*NAMES, *(label for label, case in CONFIGURED.items() if case.name in NAMES))
Record = dict[str, Any]


def case_of(label: str) -> Case:
    """Return the objective of that name by default; or SimCLR within its rank, to be caught."""
    return CONFIGURED.get(label, Case("simclr" if label == UNGATHERED else label))


def run(label: str, rank: int, world: int) -> Record:
    """Take some steps on this rank's rows; return losses, gradients, and the state after them."""
    case = case_of(label)
    objective = synchronise(objective_of(case.name, dtype=torch.float64, **case.given))
    if label == UNGATHERED:
        objective.gathered = lambda z_a, z_b: {}
    model: nn.Module = objective
    if world > 1:
        model = DistributedDataParallel(objective, broadcast_buffers=False)
    trainable = {key: value for key, value in objective.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(trainable.values(), lr=0.01)
    size = ROWS // world
    losses, gradients = [], []
    for step in range(START, START + case.steps):
        start = 0 if case.again else step * ROWS
        batch = batch_of(objective, ROWS, step=step, start=start, dtype=torch.float64)
        batch = rows_of(batch, slice(rank * size, (rank + 1) * size))
        optimizer.zero_grad(set_to_none=True)
        loss = model(batch, progress_at(step))["loss"]
        loss.backward()
        gradients.append(
            {key: value.grad.clone() for key, value in trainable.items() if value.grad is not None}
        )
        losses.append(loss.item())
        optimizer.step()
        objective.after_step(progress_at(step))
    return {"losses": losses, "gradients": gradients, "state": flat(objective.state_dict())}


def flat(state: Record) -> dict[str, Tensor]:
    """Return extra state, a dictionary itself, by the names of its parts."""
    parts = {key: value if isinstance(value, dict) else {"": value} for key, value in state.items()}
    return {
        key + part: value
        for key, actual in parts.items()
        for part, value in actual.items()
        if isinstance(value, Tensor)
    }


def shared_gradient(rank: int) -> Record:
    """Return gradients of two tensors whose gathers are added.

    Autograd hands one tensor to both of them.
    """
    comm = Communicator(Exchange.GATHER)
    x, y = (torch.ones(3, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ((comm.gather(x) + comm.gather(y)) * (rank + 1)).sum().backward()
    return {"x": x.grad, "y": y.grad}


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    records = {name: run(name, rank, world) for name in (*SUBJECTS, UNGATHERED)}
    records[SHARED] = shared_gradient(rank)
    torch.save(records, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> dict[str, Record]:
    return {name: run(name, 0, 1) for name in (*SUBJECTS, UNGATHERED)}


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"{world}-ranks")
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Record]]:
    """Return each rank's records of all objectives, from one set of processes."""
    folder, world = tmp_path_factory.mktemp("ranks"), request.param
    # A fork server imports the heavy packages once for all ranks of all worlds.
    multiprocessing.set_forkserver_preload(
        ["torch", "timm", "sklearn.datasets", "manta.objectives", "manta.serving"]
    )
    mp.start_processes(worker, args=(world, str(folder)), nprocs=world, start_method="forkserver")
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(world)]


def error(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest relative error of a tensor.

    Elements far smaller than the whole tensor count relative to a part of it.
    """
    assert actual.keys() == expected.keys()
    numbers = {key: value for key, value in expected.items() if value.is_floating_point()}
    whole = torch.stack([value.norm() for value in numbers.values()]).norm()
    return max(
        float((actual[key] - value).norm() / torch.maximum(value.norm(), 1e-3 * whole))
        for key, value in numbers.items()
    )


@pytest.mark.parametrize("name", SUBJECTS)
def test_ranks_have_the_gradients_of_the_global_batch(
    name: str, alone: dict[str, Record], together: list[dict[str, Record]]
) -> None:
    assert all(gradient.norm() > 0 for gradient in alone[name]["gradients"][-1].values())
    for record in (records[name] for records in together):
        for actual, expected in zip(record["gradients"], alone[name]["gradients"], strict=True):
            assert error(actual, expected) < 1e-5


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_mean_of_the_ranks_losses_is_the_global_batchs(
    name: str, alone: dict[str, Record], together: list[dict[str, Record]]
) -> None:
    for step in range(case_of(name).steps):
        mean = sum(records[name]["losses"][step] for records in together) / len(together)
        assert mean == pytest.approx(alone[name]["losses"][step], rel=1e-9)


@pytest.mark.parametrize("name", SUBJECTS)
def test_all_ranks_end_in_the_state_of_one_process(
    name: str, alone: dict[str, Record], together: list[dict[str, Record]]
) -> None:
    """Teachers, centres and running statistics are not broadcast: each rank computes them."""
    for record in (records[name] for records in together):
        assert error(record["state"], alone[name]["state"]) < 1e-8
        for key, value in alone[name]["state"].items():
            assert value.is_floating_point() or torch.equal(record["state"][key], value), key


def test_a_missing_gather_would_be_seen(
    alone: dict[str, Record], together: list[dict[str, Record]]
) -> None:
    actual, expected = together[0][UNGATHERED]["gradients"][0], alone[UNGATHERED]["gradients"][0]
    assert error(actual, expected) > 1e-2


def test_a_gradient_that_gathers_share_is_summed_once_for_each(
    together: list[dict[str, Record]],
) -> None:
    """A collective that worked in place would give the second what the first had summed already."""
    world = len(together)
    for records in together:
        for gradient in records[SHARED].values():
            assert gradient.tolist() == [[world * (world + 1) / 2]] * 3


def test_every_kind_of_exchange_is_tried() -> None:
    """So that the communicator's three operations stay covered."""
    assert {kind.exchange for _, kind in OBJECTIVES.items()} == set(Exchange)
