"""Modules and updates that most methods share."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manta.encoders import Encoder, TokenEncoder
from manta.errors import ConfigError
from manta.objectives._config import HeadConfig
from manta.spec import Spec

M = TypeVar("M", bound=nn.Module)


class Head(nn.Sequential):
    """A projector or predictor, `[N, D] -> [N, out]`.

    Later modules read `out` here, not in the config.
    """

    out: int


def mlp(width: int, head: HeadConfig, *, out: int | None = None, bias: bool = True) -> Head:
    """Build linear layers with norms and activations between them, or fixed `Reweighting` scales.

    Args:
        width: of the input.
        out: width that the method needs whatever `head.out` says, such as the number of classes;
            None: `head.out`.
        bias: of the last layer. False where what follows removes a shift, so that no gradient would
            reach it.

    Raises:
        ConfigError: `out` is not `width`, and the head is a reweighting.
    """
    if head.kind == "reweighting":
        if out not in (None, width):
            raise ConfigError(
                f"a head of kind reweighting keeps its {width} numbers, "
                f"and {out} are needed; use mlp"
            )
        scales = Head(Reweighting(width, head.kappa))
        scales.out = width
        return scales
    head = head if out is None else head.model_copy(update={"out": out})
    layers = Head(*_layers(width, head, bias=bias))
    layers.out = head.out
    return layers


def _layers(width: int, head: HeadConfig, *, bias: bool) -> list[nn.Module]:
    def norm(size: int, *, affine: bool) -> list[nn.Module]:
        if head.norm == "batch":
            return [nn.BatchNorm1d(size, affine=affine)]
        return [nn.LayerNorm(size, elementwise_affine=affine)] if head.norm == "layer" else []

    activation = nn.GELU if head.activation == "gelu" else nn.ReLU
    layers: list[nn.Module] = []
    for _ in range(head.layers - 1):
        # BatchNorm removes a bias before it.
        layers.append(nn.Linear(width, head.hidden, bias=head.norm != "batch"))
        layers += norm(head.hidden, affine=True)
        layers.append(activation())
        width = head.hidden
    removed = head.norm_out and head.norm == "batch"
    layers.append(nn.Linear(width, head.out, bias=bias and not removed))
    if head.norm_out:
        layers += norm(head.out, affine=False)
    return layers


class Reweighting(nn.Module):
    """A fixed scale of each dimension i, from 0, by one over kappa to the i: `[N, D] -> [N, D]`.

    Xue et al. 2024, S070.
    """

    scale: Tensor

    def __init__(self, width: int, kappa: float) -> None:
        super().__init__()
        scale = kappa ** -torch.arange(width, dtype=torch.float32)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def masked_encoder(name: str, encoder: Encoder, mask_ratio: float) -> TokenEncoder:
    """Return the encoder as a TokenEncoder of which `mask_ratio` hides some patches.

    Raises:
        ConfigError: it has no patches, or all or none of them would be hidden.
    """
    if not isinstance(encoder, TokenEncoder):
        raise ConfigError(
            f"objective.name={name} needs an encoder with patch tokens, "
            "such as encoder.name=vit_tiny_patch16_224 with encoder.stem=small"
        )
    patches = math.prod(encoder.grid)
    if round(mask_ratio * patches) in (0, patches):
        raise ConfigError(
            f"objective.mask_ratio {mask_ratio:g} hides none or all of the encoder's {patches} "
            "patches; set encoder.stem=small or another ratio"
        )
    return encoder


def check_square(name: str, spec: Spec) -> None:
    """Check that a method that turns samples or cuts them into tiles is given square grids.

    Raises:
        ConfigError: it is given something else.
    """
    if spec.form != "grid" or len(spec.sides) != 2 or len(set(spec.sides)) != 1:
        raise ConfigError(
            f"objective.name={name} needs square grids, such as images, and data.modality gives "
            f"{spec}; choose another objective"
        )


class Prototypes(nn.Module):
    """K learned directions, a weight-normalised layer of gain 1: cosines `[N, D] -> [N, K]`."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def momentum_copy(module: M) -> M:
    """Return a copy that no gradient reaches: a momentum teacher at its start."""
    return copy.deepcopy(module).requires_grad_(False)


def freeze_unreached(module: nn.Module, output: Tensor) -> None:
    """Freeze the parameters of `module` that `output` does not depend on.

    The pooling of a token encoder is an example. DistributedDataParallel waits for the gradient of
    every trainable parameter.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(output.sum(), trainable, allow_unused=True)
    for parameter, gradient in zip(trainable, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Update `teacher = momentum * teacher + (1 - momentum) * student` over parameters.

    Buffers are left alone: a teacher runs in train mode, so its BatchNorm keeps running statistics
    of its own features, which the student's would not fit.
    """
    own: list[Tensor] = list(teacher.parameters())
    if own:  # a reweighting has none
        torch._foreach_lerp_(own, list(student.parameters()), 1.0 - momentum)
