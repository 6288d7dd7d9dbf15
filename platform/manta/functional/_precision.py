"""Losses are computed in float32 at least, also under autocast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def upcast(x: Tensor) -> Tensor:
    """float16 and bfloat16 to float32; float32, float64 and whole numbers stay."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(equation: Callable[P, R]) -> Callable[P, R]:
    """Decorator: tensor arguments are upcast, and autocast is off inside (it would cast matmuls
    down again)."""

    @functools.wraps(equation)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        raised: list[Any] = [
            upcast(value) if isinstance(value, Tensor) else value for value in args
        ]
        named: dict[str, Any] = {
            k: upcast(v) if isinstance(v, Tensor) else v for k, v in kwargs.items()
        }
        with torch.autocast(tensors[0].device.type, enabled=False):
            return equation(*raised, **named)

    return cast("Callable[P, R]", wrapper)
