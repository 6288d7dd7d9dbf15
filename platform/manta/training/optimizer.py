"""Optimizer of a run, and the schedules of its learning rate and weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from manta.config import OptimizerConfig
from manta.errors import ConfigError
from manta.schedules import value_of

# timm is imported in the function: it takes over a second, and a driver may not need it.
UNDECAYED_NAMES = ("cls_token", "pos_embed", "mask_token", "reg_token", "dist_token", "temperature")


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return timm's optimizer of the configured name over a model's trainable parameters.

    It has two groups: parameters with weight decay; and biases, norms and tokens without.

    Raises:
        ConfigError: timm has no such optimizer, or it rejects an argument.
    """
    from timm.optim import create_optimizer_v2, list_optimizers

    if config.name not in list_optimizers():
        raise ConfigError(
            f"optimizer.name: timm has no optimizer {config.name!r}; try adamw, sgd, lars, lamb "
            "or muon"
        )
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            special = parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in UNDECAYED_NAMES
            (undecayed if special else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "decayed": True},
        {"params": undecayed, "decayed": False, "weight_decay": 0.0},
    ]
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            [group for group in groups if group["params"]],
            opt=config.name,
            lr=config.lr,
            weight_decay=value_of(config.weight_decay, 0, 1),
            momentum=config.momentum,
            **config.args,
        )
        return optimizer
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer: {config.name} refuses its arguments: {error}") from error


def set_schedules(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, total: int
) -> dict[str, float]:
    """Set the optimizer's learning rate and weight decay to those of `step`; return both."""
    lr = config.lr * config.schedule.value(step, total)
    weight_decay = value_of(config.weight_decay, step, total)
    for group in optimizer.param_groups:
        group["lr"] = lr
        if group["decayed"]:
            group["weight_decay"] = weight_decay
    return {"lr": lr, "weight_decay": weight_decay}
