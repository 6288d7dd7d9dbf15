"""The few modules and updates that most methods share."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.encoders import Encoder, TokenEncoder
from manta.errors import ConfigError
from manta.objectives._config import HeadConfig

M = TypeVar("M", bound=nn.Module)


class Head(nn.Sequential):
    """A projector or predictor, `[N, D] -> [N, out]`. What comes after it asks `out`, not the
    config."""

    out: int


def mlp(width: int, head: HeadConfig, *, out: int | None = None, bias: bool = True) -> Head:
    """Linear layers with normalisation and an activation between them, or the fixed scales of
    `Reweighting`.

    Args:
        width: of the input.
        out: what the method asks for whatever `head.out` says, such as the number of classes; None:
            `head.out`.
        bias: of the last layer. False where what follows removes a shift, so that no gradient would
            reach it.

    Raises:
        ConfigError: `out` is not `width`, and the head is a reweighting.
    """
    if head.kind == "reweighting":
        if out not in (None, width):
            raise ConfigError(
                f"a head of kind reweighting keeps its {width} numbers, and {out} are needed; use mlp"
            )
        made = Head(Reweighting(width, head.kappa))
        made.out = width
        return made
    head = head if out is None else head.model_copy(update={"out": out})
    made = Head(*_layers(width, head, bias=bias))
    made.out = head.out
    return made


def _layers(width: int, head: HeadConfig, *, bias: bool) -> list[nn.Module]:
    def norm(size: int, *, affine: bool) -> list[nn.Module]:
        if head.norm == "batch":
            return [nn.BatchNorm1d(size, affine=affine)]
        return [nn.LayerNorm(size, elementwise_affine=affine)] if head.norm == "layer" else []

    activation = nn.GELU if head.activation == "gelu" else nn.ReLU
    layers: list[nn.Module] = []
    for _ in range(head.layers - 1):
        layers += [
            nn.Linear(width, head.hidden, bias=head.norm != "batch"),
            *norm(head.hidden, affine=True),
        ]
        layers.append(activation())
        width = head.hidden
    removed = head.norm_out and head.norm == "batch"
    layers.append(nn.Linear(width, head.out, bias=bias and not removed))
    if head.norm_out:
        layers += norm(head.out, affine=False)
    return layers


class Reweighting(nn.Module):
    """`[N, D] -> [N, D]`: dimension i, from 0, over kappa to the i; nothing is learnt (Xue et al.
    2024, S070)."""

    scale: Tensor

    def __init__(self, width: int, kappa: float) -> None:
        super().__init__()
        self.register_buffer(
            "scale", kappa ** -torch.arange(width, dtype=torch.float32), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def masked_encoder(name: str, encoder: Encoder, mask_ratio: float) -> TokenEncoder:
    """The encoder, by what is made sure of: it has patches, and `mask_ratio` hides some of them.

    Raises:
        ConfigError: it has none, or all or none would be hidden.
    """
    if not isinstance(encoder, TokenEncoder):
        raise ConfigError(
            f"objective.name={name} needs an encoder with patch tokens, "
            "such as encoder.name=vit_tiny_patch16_224 with encoder.stem=small"
        )
    patches = encoder.grid[0] * encoder.grid[1]
    if round(mask_ratio * patches) in (0, patches):
        raise ConfigError(
            f"objective.mask_ratio {mask_ratio:g} hides none or all of the encoder's {patches} patches; "
            "set encoder.stem=small or another ratio"
        )
    return encoder


class Prototypes(nn.Module):
    """`[N, D] -> [N, K]`: cosines with K learnt directions (a weight-normalised layer of gain
    1)."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def momentum_copy(module: M) -> M:
    """A copy that no gradient reaches: a momentum teacher at its start."""
    return copy.deepcopy(module).requires_grad_(False)


def freeze_unreached(module: nn.Module, output: Tensor) -> None:
    """Freeze the parameters of `module` that had no part in `output`, such as the pooling of a
    token encoder.

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

    Buffers are left alone: a teacher runs in train mode, so its BatchNorm keeps running statistics
    of its own features, which the student's would not fit.
    """
    own: list[Tensor] = list(teacher.parameters())
    if own:  # a reweighting has none
        torch._foreach_lerp_(own, list(student.parameters()), 1.0 - momentum)
