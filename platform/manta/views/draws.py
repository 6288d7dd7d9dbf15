"""Random numbers of a step's views that every pipeline can use."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, step: int, *purpose: int) -> torch.Generator:
    """Return the random number stream of one step; each `purpose` has a stream of its own."""
    state = int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def draw_masks(
    tokens: int,
    *,
    hidden: int,
    rows: slice,
    global_batch: int,
    stream: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Draw `[B, tokens]` bool with `hidden` True in every row, every such set equally likely."""
    order = torch.rand(global_batch, tokens, generator=stream)[rows]
    order = (order.pin_memory() if device.type == "cuda" else order).to(device, non_blocking=True)
    chosen = order.argsort(dim=1, stable=True)[:, :hidden]
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, chosen, True)
