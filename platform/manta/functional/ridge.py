"""Ridge regression from sums over parts of the data, for several penalties at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def ridge(
    pairs: Iterable[tuple[Tensor, Tensor]], alphas: Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    """Return weights `[D, H]` and constants `[H]` for each penalty; constants have none.

    Args:
        pairs: parts of inputs `[n, D]` and of what they should give, `[n, H]`; in float64, since
            squares are summed before means are taken off.
    """
    rows = 0
    totals: list[Any] = [0.0, 0.0, 0.0, 0.0]
    for x, y in pairs:
        rows += len(x)
        terms = (x.sum(0), y.sum(0), x.T @ x, x.T @ y)
        totals = [total + term for total, term in zip(totals, terms, strict=True)]
    mean_x, mean_y = totals[0] / rows, totals[1] / rows
    gram = totals[2] - rows * torch.outer(mean_x, mean_x)
    products = totals[3] - rows * torch.outer(mean_x, mean_y)
    values, vectors = torch.linalg.eigh(gram)
    turned = vectors.T @ products
    solved = []
    for alpha in alphas:
        weight = vectors @ (turned / (values.clamp(min=0) + alpha).unsqueeze(1))
        solved.append((weight, mean_y - mean_x @ weight))
    return solved
