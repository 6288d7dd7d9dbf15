"""Divisions of rows that keep groups whole: speakers, recordings, patients."""

from __future__ import annotations

import torch
from torch import Tensor

Places = Tensor | slice
NEEDS = "two groups of rows, and there are {count}; say by data.group what belongs together"


def drawn_groups(groups: Tensor | None, *, most: int, seed: int) -> Tensor | None:
    """Return the groups `[N]` of the rows that `draw` draws, in its order; None without groups."""
    if groups is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    return groups[torch.randperm(len(groups), generator=generator)[:most].to(groups.device)]


def held_out_part(groups: Tensor | None, rows: int, fraction: float) -> tuple[Places, Places]:
    """Return places of rows to choose on and of the others, which together are all `rows`.

    Without groups the first rows are taken, which were drawn at random. With them whole groups are,
    in the order of their first rows, each if it brings the part nearer to `fraction`; one at least
    is taken and one is left.

    Args:
        groups: `[rows]`, below 0 for none; such a row stands alone.
    """
    count = round(rows * fraction)
    first_rows = slice(0, count), slice(count, rows)
    if groups is None:
        return first_rows  # as slices: what is computed from copies may differ in the last bit
    places = torch.arange(rows)
    ids = _alone_apart(groups.cpu())
    numbers, inverse, sizes = torch.unique(ids, return_inverse=True, return_counts=True)
    if len(numbers) < 2:
        return first_rows
    first = torch.full((len(numbers),), rows).scatter_reduce(0, inverse, places, "amin")
    order = first.argsort().tolist()
    taken: list[int] = []
    total = 0
    for number in order:
        size = int(sizes[number])
        if abs(total + size - count) < abs(total - count) and len(taken) + 1 < len(order):
            taken.append(number)
            total += size
    taken = taken or [min(order, key=lambda number: int(sizes[number]))]
    is_held = torch.isin(inverse, torch.tensor(taken))
    return places[is_held], places[~is_held]


def count_present(*groups: Tensor | None) -> int:
    """Return the number of groups that rows belong to, over all tensors `[N]`."""
    own = [one[one >= 0] for one in groups if one is not None]
    return len(torch.unique(torch.cat(own))) if own else 0


def fold_of_group(groups: Tensor, folds: int) -> Tensor:
    """Return the fold `[N]` of each row, so that groups are whole and folds of about equal size.

    Args:
        groups: `[N]`, none below 0.
    """
    _, inverse, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    own: Tensor = inverse
    if len(sizes) <= folds:
        return own
    filled = [0] * folds
    fold = torch.zeros(len(sizes), dtype=torch.int64)
    for number in sizes.argsort(descending=True, stable=True).tolist():
        fold[number] = least = filled.index(min(filled))
        filled[least] += int(sizes[number])
    of_rows: Tensor = fold[inverse]
    return of_rows


def _alone_apart(groups: Tensor) -> Tensor:
    """Return the groups with a number of its own for each row that has none."""
    none = groups < 0
    own = int(groups.max()) + 1 + torch.arange(len(groups)) if len(groups) else groups
    return torch.where(none, own, groups)
