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
from manta.modalities.image.views import ImageViews, ImageViewsConfig

VIEW_BATCH = 256
"""Images that are augmented at a time."""

Augment = Callable[[Tensor, Tensor, int], Tensor]
"""uint8 `[B, 3, S, S]`, index `[B]` and the number of the draw -> one augmented view of each, `[B,
C, s, s]`."""


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
    batches: Sequence[tuple[Tensor, Tensor]],
    augment: Augment,
    views: int,
    *,
    device: torch.device,
    numbers: Iterator[int],
) -> dict[str, list[Tensor]]:
    """Return `[b, views, D]` of each batch, by encoder.

    Args:
        batches: images and indexes. They are cut into batches of `VIEW_BATCH`, since draws depend
            on the size of a batch.
        numbers: of the draws.
    """
    embedded: dict[str, list[Tensor]] = {name: [] for name in encoders}
    images, index = torch.empty(0), torch.empty(0)
    if batches:
        images, index = (torch.cat(parts) for parts in zip(*batches, strict=True))
    for start in range(0, len(images), VIEW_BATCH):
        pixels, samples = (part[start : start + VIEW_BATCH].to(device) for part in (images, index))
        features: dict[str, list[Tensor]] = {name: [] for name in encoders}
        for _ in range(views):
            view = augment(pixels, samples, next(numbers))
            for name, encoder in encoders.items():
                features[name].append(encoder.embed(view).float().cpu())
        for name, parts in features.items():
            embedded[name].append(torch.stack(parts, dim=1))
    return embedded


def augmentation(views: ImageViewsConfig, image_size: int) -> Augment:
    """Return the augmentation of evaluations: SimCLR's preset, normalised as `views` says.

    It is the same whatever the run's own views are, so that runs can be compared.
    """
    config = ImageViewsConfig(preset="simclr", mean=views.mean, std=views.std)
    pipeline = ImageViews(config, ViewNeeds(global_views=1), image_size=image_size)

    def augment(images: Tensor, index: Tensor, draw: int) -> Tensor:
        rows = {"image": images}
        return pipeline(rows, index, seed=0, step=draw, global_batch=len(images)).views[0].tensor

    return augment
