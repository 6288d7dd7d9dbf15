"""Places of windows relative to one another: what `after` and `gap` of an `Ask` mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manta.batch import Ask, Decreasing, Gap, Next, Same, Within


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Windows of V views of B rows, those of a chain of gaps as one stretch that is placed whole.

    So a chain lies within the row wherever it fits, and each of its views is as likely at the begin
    of a row as at the end. A view that is placed from none is a stretch of its own.

    Attributes:
        roots: for each view the number of the first of its chain, by whose draw it is placed.
        spans: `[V, B]` lengths of the stretches.
        shifts: `[V, B]` from the begin of the stretch to that of the window.
    """

    roots: tuple[int, ...]
    spans: Tensor
    shifts: Tensor

    def is_alone(self, view: int) -> bool:
        """Return whether a view's place depends on no other view."""
        return self.roots.count(self.roots[view]) == 1


def same_windows(asks: Sequence[Ask]) -> tuple[int, ...]:
    """Return for each view the number of the one whose window it has, its own if no other's."""
    of: list[int] = []
    for view, ask in enumerate(asks):
        is_same = isinstance(ask.gap, Same) and ask.after is not None
        of.append(of[ask.after or 0] if is_same else view)
    return tuple(of)


def with_windows(numbers: Tensor, asks: Sequence[Ask], places: Sequence[int]) -> Tensor:
    """Return draws `[numbers, V, B]` in which views of one window have the same ones for it.

    Args:
        places: numbers that decide a window: its size and place, mirroring, direction.
    """
    of = list(same_windows(asks))
    if of == list(range(len(of))):
        return numbers
    linked = numbers.clone()
    linked[list(places)] = numbers[list(places)][:, of]
    return linked


def has_distances(asks: Sequence[Ask]) -> bool:
    """Return whether the distance between any two views is drawn."""
    return any(isinstance(ask.gap, (Within, Decreasing)) for ask in asks)


def arranged(asks: Sequence[Ask], widths: Tensor, numbers: Tensor | None) -> Arrangement:
    """Return how windows lie relative to one another.

    Args:
        widths: `[V, B]` float64 of the windows, in the source's units, as gaps are.
        numbers: `[V, B]` uniform in [0, 1), of the distances; None where none is drawn.
    """
    offsets, roots = torch.zeros_like(widths), list(range(len(widths)))
    for view, ask in enumerate(asks):
        if ask.after is not None and ask.gap is not None:
            drawn = torch.zeros_like(widths[view]) if numbers is None else numbers[view]
            roots[view] = roots[ask.after]
            offsets[view] = offsets[ask.after] + distance(ask.gap, drawn)
    spans, shifts = torch.zeros_like(widths), torch.zeros_like(widths)
    for root in set(roots):
        chain = [view for view, of in enumerate(roots) if of == root]
        first = offsets[chain].amin(0)
        spans[chain] = (offsets[chain] + widths[chain]).amax(0) - first
        shifts[chain] = offsets[chain] - first
    return Arrangement(tuple(roots), spans, shifts)


def crop_windows(
    crops: Sequence[tuple[float, float]],
    numbers: Tensor,
    lengths: Tensor,
    asks: Sequence[Ask],
    distances: Tensor | None,
) -> list[tuple[Tensor, Tensor]]:
    """Return first place and width of each row's crop, `[B]` int64 each, for every view.

    Args:
        crops: of each view, least and largest share of the row.
        numbers: `[2, V, B]` uniform in [0, 1), of the widths and of the places.
        lengths: `[B]` of the rows.
        asks: of the views; empty where none is placed from another.
        distances: `[V, B]` numbers of the distances between views; None where none is drawn.
    """
    each = []
    for view, (low, high) in enumerate(crops):
        share = low + (high - low) * numbers[0, view]
        each.append((share * lengths).round().clamp_(min=1).minimum(lengths.double()))
    places = arranged(asks, torch.stack(each), distances)
    windows = []
    for view, widths in enumerate(each):
        room = (lengths - places.spans[view] + 1).clamp(min=1)
        starts = (numbers[1, places.roots[view]] * room).floor() + places.shifts[view]
        # A chain that is longer than the row ends where the row does.
        starts = starts.round().minimum(lengths - widths)
        windows.append((starts.long(), widths.long()))
    return windows


def distance(gap: Gap, numbers: Tensor) -> Tensor:
    """Return how far windows begin after others, by uniform numbers in [0, 1)."""
    if isinstance(gap, Same):
        return torch.zeros_like(numbers)
    if isinstance(gap, Next):
        return torch.full_like(numbers, gap.steps)
    if isinstance(gap, Within):
        return gap.low + (gap.high - gap.low) * numbers
    is_before, share = numbers < 0.5, (2 * numbers) % 1
    away = gap.most * (1 - (1 - share).sqrt())
    return torch.where(is_before, -away, away)
