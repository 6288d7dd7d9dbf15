"""Augmented views of some query rows, for evaluators that require them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manta.batch import ViewNeeds
from manta.encoders import Encoder
from manta.evaluation.rows import SplitRows
from manta.evaluators import Evaluator
from manta.modalities.preprocess import Preprocess
from manta.ragged import Data, Leaves, joined, moved, rows_of

VIEW_BATCH = 256
"""Rows that are augmented at a time."""

Augment = Callable[[Leaves, Tensor, int], Data]
"""Decoded rows, index `[B]` and the number of the draw -> one augmented view of each."""


def required_views(evaluators: Iterable[Evaluator[Any]]) -> tuple[int, int] | None:
    """Return `(rows, views)` that suffice for all evaluators; None where none requires views."""
    required = [
        needs for evaluator in evaluators if (needs := evaluator.required_views()) is not None
    ]
    if not required:
        return None
    return max(rows for rows, _ in required), max(views for _, views in required)


def chosen_rows(rows: SplitRows, count: int) -> NDArray[np.bool_]:
    """Return which rows of a split are among `count` drawn ones: the same ones at every call."""
    total = len(rows.indexes)
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[np.random.default_rng(0).permutation(total)[:count]] = True
    return chosen


def embed_views(
    encoders: Mapping[str, Encoder],
    batches: Sequence[tuple[Leaves, Tensor]],
    augment: Augment,
    views: int,
    *,
    device: torch.device,
    numbers: Iterator[int],
) -> dict[str, list[Tensor]]:
    """Return `[b, views, D]` of each batch, by encoder.

    Args:
        batches: decoded rows and indexes. They are cut into batches of `VIEW_BATCH`, since draws
            depend on the size of a batch.
        numbers: of the draws.
    """
    embedded: dict[str, list[Tensor]] = {name: [] for name in encoders}
    if not batches:
        return embedded
    data = joined([rows for rows, _ in batches])
    index = torch.cat([rows for _, rows in batches])
    for start in range(0, len(index), VIEW_BATCH):
        here = slice(start, start + VIEW_BATCH)
        part, samples = moved(rows_of(data, here), device), index[here].to(device)
        features: dict[str, list[Tensor]] = {name: [] for name in encoders}
        for _ in range(views):
            view = augment(part, samples, next(numbers))
            for name, encoder in encoders.items():
                features[name].append(encoder.embed(view).float().cpu())
        for name, parts in features.items():
            embedded[name].append(torch.stack(parts, dim=1))
    return embedded


def augmentation(preprocess: Preprocess) -> Augment:
    """Return the augmentation of evaluations: SimCLR's preset, for the encoder's input.

    It is the same whatever the run's own views are, so that runs can be compared.
    """
    pipeline = preprocess.views(ViewNeeds(preset="simclr", global_views=1))

    def augment(data: Leaves, index: Tensor, draw: int) -> Data:
        return pipeline(data, index, seed=0, step=draw, global_batch=len(index)).views[0].data

    return augment
