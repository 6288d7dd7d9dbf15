"""The few modules and updates that most methods share."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.objectives._config import HeadConfig

M = TypeVar("M", bound=nn.Module)


def mlp(width: int, head: HeadConfig, *, bias: bool = True) -> nn.Sequential:
    """`[N, width] -> [N, head.out]`: linear layers with normalisation and an activation between them.

    Args:
        bias: of the last layer. False where what follows removes a shift, so that no gradient would reach it.
    """

    def norm(size: int, *, affine: bool) -> list[nn.Module]:
        if head.norm == "batch":
            return [nn.BatchNorm1d(size, affine=affine)]
        return [nn.LayerNorm(size, elementwise_affine=affine)] if head.norm == "layer" else []

    activation = nn.GELU if head.activation == "gelu" else nn.ReLU
    layers: list[nn.Module] = []
    for _ in range(head.layers - 1):
        layers += [nn.Linear(width, head.hidden, bias=head.norm != "batch"), *norm(head.hidden, affine=True)]
        layers.append(activation())
        width = head.hidden
    removed = head.norm_out and head.norm == "batch"
    layers.append(nn.Linear(width, head.out, bias=bias and not removed))
    if head.norm_out:
        layers += norm(head.out, affine=False)
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """`[N, D] -> [N, K]`: cosines with K learnt directions (a weight-normalised layer of gain 1)."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def momentum_copy(module: M) -> M:
    """A copy that no gradient reaches: a momentum teacher at its start."""
    return copy.deepcopy(module).requires_grad_(False)


def freeze_unreached(module: nn.Module, output: Tensor) -> None:
    """Freeze the parameters of `module` that had no part in `output`, such as the pooling of a token encoder.

    DistributedDataParallel waits for the gradient of every trainable parameter.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter, gradient in zip(
        trainable, torch.autograd.grad(output.sum(), trainable, allow_unused=True), strict=True
    ):
        parameter.requires_grad_(gradient is not None)


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """`teacher = momentum * teacher + (1 - momentum) * student` over parameters.

    Buffers are left alone: a teacher runs in train mode, so its BatchNorm keeps running statistics of its own
    features, which the student's would not fit.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - momentum)
