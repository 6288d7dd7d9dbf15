"""Kernels of the views of sentences; each takes padded token numbers `[B, L]`.

What stands after the end of a row does not matter, and matters to no row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.modalities.text.views.draws import DELETE, REPLACE, SHUFFLE, SPAN, TOKEN, Draws


def window(ids: Tensor, starts: Tensor, most: int) -> Tensor:
    """Return `[B, most]`, of each row what follows from a place on."""
    places = starts.unsqueeze(1) + torch.arange(most, device=ids.device)
    return ids.gather(1, places.clamp(max=ids.shape[1] - 1))


def mask_spans(ids: Tensor, lengths: Tensor, drawn: Draws, mask: int) -> Tensor:
    """Return rows in which the mask stands in the place of some stretches."""
    length, span = ids.shape[1], drawn.spec.span
    place = torch.arange(length, device=ids.device)
    # A stretch does not begin where it would not end within its row.
    may_start = place <= (lengths - span).clamp(min=0).unsqueeze(1)
    order = drawn.uniform(SPAN, length).masked_fill(~may_start, 2.0).argsort(1)
    rank = torch.empty_like(order).scatter_(1, order, place.expand_as(order))
    starts = (rank < drawn.spans(lengths).unsqueeze(1)) & may_start
    reached = F.max_pool1d(F.pad(starts.float().unsqueeze(1), (span - 1, 0)), span, stride=1)
    return torch.where(reached.squeeze(1) > 0, mask, ids)


def replace(ids: Tensor, drawn: Draws, ordinary: Tensor) -> Tensor:
    """Return rows in which some tokens are others, drawn from `ordinary: [V]`."""
    length = ids.shape[1]
    others = ordinary[(drawn.uniform(TOKEN, length) * len(ordinary)).long()]
    return torch.where(drawn.uniform(REPLACE, length) < drawn.spec.replace, others, ids)


def shuffle(ids: Tensor, lengths: Tensor, drawn: Draws) -> Tensor:
    """Return rows whose tokens have moved, each by `shuffle` places at most.

    As Lample et al. 2018: they are sorted by their place and a drawn number up to `shuffle + 1`.
    """
    length = ids.shape[1]
    place = torch.arange(length, device=ids.device)
    after = place + (drawn.spec.shuffle + 1) * drawn.uniform(SHUFFLE, length)
    is_over = place >= lengths.unsqueeze(1)
    return ids.gather(1, after.masked_fill(is_over, float("inf")).argsort(stable=True, dim=1))


def kept(lengths: Tensor, drawn: Draws, most: int) -> Tensor:
    """Return `[B, most]` bool, True for the tokens that stay; one of each row at least."""
    numbers = drawn.uniform(DELETE, most)
    there = torch.arange(most, device=lengths.device) < lengths.unsqueeze(1)
    numbers = numbers.masked_fill(~there, -1.0)
    last = numbers.argmax(1, keepdim=True)
    return (numbers >= drawn.spec.delete).scatter_(1, last, True) & there
