"""Precision of the losses: float32 or more, also under autocast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def upcast(x: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32; leave float32, float64 and integers as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(equation: Callable[P, R]) -> Callable[P, R]:
    """Decorate an equation: upcast its tensors and switch autocast off.

    Under autocast the matrix products inside would be computed in half precision again.
    """

    @functools.wraps(equation)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        positional = [_upcast_tensor(value) for value in args]
        named = {name: _upcast_tensor(value) for name, value in kwargs.items()}
        with torch.autocast(tensors[0].device.type, enabled=False):
            return equation(*positional, **named)

    return cast("Callable[P, R]", wrapper)


def _upcast_tensor(value: Any) -> Any:
    return upcast(value) if isinstance(value, Tensor) else value
