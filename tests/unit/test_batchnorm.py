"""Synchronised BatchNorm: the global batch's output, gradient and running statistics, on gloo."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers import BatchNormAct2d
from torch import nn

from manta.training.batchnorm import synchronise


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        BatchNormAct2d(4),
        nn.Flatten(),
        nn.Linear(144, 5),
        nn.BatchNorm1d(5),
    ).double()


def rows() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(8, 3, 8, 8, dtype=torch.float64) + torch.arange(
        8.0, dtype=torch.float64
    ).view(8, 1, 1, 1)


def train(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    out = model(x)
    (out.sin() * torch.arange(5.0)).mean().backward()
    return out.detach()


def on_rank(rank: int, world: int, file: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    model = synchronise(net())
    out = train(model, rows().chunk(world)[rank])
    grads = [p.grad / world for p in model.parameters()]
    for grad in grads:
        dist.all_reduce(grad)
    torch.save((out, grads, model.state_dict()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


SHARES = (3, 5)
"""Rows of the ranks where they are unequal, as packed tokens are."""


def unequal_on_rank(rank: int, world: int, file: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    model = synchronise(net())
    out = model(rows().split(SHARES)[rank])
    # Ranks' gradients are averaged, so a share of the whole batch's mean is taken `world` fold.
    (out.sin() * torch.arange(5.0)).sum().mul(world / (5 * sum(SHARES))).backward()
    grads = [p.grad / world for p in model.parameters()]
    for grad in grads:
        dist.all_reduce(grad)
    torch.save((out.detach(), grads, model.state_dict()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("worker", [on_rank, unequal_on_rank])
def test_two_ranks_equal_one(tmp_path, worker):
    whole = net()
    expected = train(whole, rows())
    mp.spawn(worker, args=(2, str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)
    actual = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(
        torch.cat([out for out, _, _ in actual]), expected, rtol=1e-9, atol=1e-9
    )
    for got, parameter in zip(actual[0][1], whole.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, rtol=1e-7, atol=1e-10)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(actual[1][2][name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_one_process_is_left_as_it_is():
    model = net()
    before = copy.deepcopy(model)
    assert synchronise(model) is model
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
