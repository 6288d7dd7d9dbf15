"""Features of encoders on the bank and the held-out rows, and what the evaluators say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from manta.batch import ViewNeeds
from manta.config import EvaluationConfig
from manta.data import LabelledBatch, Manifest, Plan, read_split, split_rows
from manta.data.stream import Executor, Split
from manta.encoders import Encoder
from manta.errors import DataError
from manta.evaluators import Bench, Evaluator, Features, LabelledImages, evaluate, means
from manta.views import Views, ViewsConfig

SAMPLES = 400
"""Held-out images kept for the report."""
THUMBNAIL = 64
"""Largest side of a kept image, in pixels."""
VIEW_BATCH = 256
"""Images that are augmented at a time."""

Found = dict[str, list[Tensor]]
Augment = Callable[[Tensor, Tensor, int], Tensor]
"""uint8 `[B, 3, S, S]`, index `[B]` and the number of the draw -> one augmented view of each, `[B,
C, s, s]`."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What rank 0 knows of the encoders.

    Attributes:
        features: by encoder name.
        benches: by encoder name; the encoders themselves.
        index: `[Q]` of the query rows.
        thumbnails: `[S, h, w, 3]` uint8 images of some query rows.
        sampled: `[S]` positions of those among the query rows.
    """

    features: dict[str, Features]
    benches: dict[str, Bench]
    index: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    sampled: NDArray[np.int64]

    def metrics(self, evaluators: Iterable[Evaluator[Any]]) -> dict[str, float]:
        """Every evaluator's numbers; the encoder named "" has no prefix, others `<name>_`."""
        chosen = list(evaluators)
        found: dict[str, float] = {}
        for name, features in self.features.items():
            prefix = f"{name}_" if name else ""
            with evaluating(self.benches[name].encoder):
                numbers = means(evaluate(chosen, features, self.benches[name]))
            found |= {f"{prefix}{key}": value for key, value in numbers.items()}
        return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a dataset: a part of a plan's split, at most `limit` of them."""

    manifest: Manifest
    plan: Plan
    split: Split
    limit: int


class Reader(Protocol):
    """Where rows come from."""

    def __call__(self, rows: Rows, *, rank: int, world: int) -> Iterator[LabelledBatch]:
        """A rank's part of `split_rows`, in order."""


@torch.no_grad()
def assess(
    encoders: Mapping[str, Encoder],
    bank: Rows,
    queries: Rows,
    *,
    prepare: Callable[[Tensor], Tensor],
    size: int,
    device: torch.device,
    executor: Executor = "ray",
    read: Reader | None = None,
    augment: Augment | None = None,
    views: tuple[int, int] | None = None,
) -> Assessment | None:
    """Embed both sets of rows with every encoder, decoding each image once.

    Every rank takes part; rank 0 gets the result.

    Args:
        encoders: by name; put into evaluation mode meanwhile.
        prepare: uint8 `[B, 3, S, S]` -> what an encoder takes.
        size: side of decoded images.
        read: None decodes the rows, by `executor`. The result reads by it again, for evaluators of
            encoders.
        augment: makes the views of `Features.views`; without it there are none.
        views: `(rows, views)` that evaluators want; the rows are drawn from the queries.
    """
    distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    read = read or partial(decoded, size=size, executor=executor)
    embedder = _Embedder(encoders, prepare, augment, device, read, rank, world)
    with evaluating(*encoders.values()):
        parts = {
            "bank": embedder.embed(bank),
            "queries": embedder.embed(queries, samples=SAMPLES, views=views),
        }
    if world > 1:
        parts = _collect(parts, world)
    if rank != 0:
        return None
    rows = partial(read_alone, read, {"bank": bank, "queries": queries})
    return _assemble(
        parts,
        {name: Bench(encoder, prepare, size, device, rows) for name, encoder in encoders.items()},
    )


@dataclass(frozen=True, slots=True)
class _Embedder:
    """One rank's pass over rows: features of every encoder, labels, indexes, and a few images."""

    encoders: Mapping[str, Encoder]
    prepare: Callable[[Tensor], Tensor]
    augment: Augment | None
    device: torch.device
    read: Reader
    rank: int
    world: int

    def embed(self, rows: Rows, *, samples: int = 0, views: tuple[int, int] | None = None) -> Found:
        """Tensors by name: `features:<encoder>`, `views:<encoder>`, "index", "labels", "images",
        and "sampled": of which rows."""
        found: Found = {
            key: [] for key in ("index", "labels", "images", "sampled", *map(_key, self.encoders))
        }
        chosen = None
        if views is not None and self.augment is not None:
            chosen = np.array_split(chosen_rows(rows, views[0]), self.world)[self.rank]
        kept: list[tuple[Tensor, Tensor]] = []
        wanted = -(-samples // self.world)
        seen = 0
        for batch in self.read(rows, rank=self.rank, world=self.world):
            prepared = self.prepare(batch.images.to(self.device, non_blocking=True))
            for name, encoder in self.encoders.items():
                found[_key(name)].append(encoder.embed(prepared).float().cpu())
            found["index"].append(batch.index)
            if batch.labels is not None:
                found["labels"].append(batch.labels)
            found["images"].append(_thumbnails(batch.images[:wanted]))
            found["sampled"].append(torch.arange(len(batch.index)) < wanted)
            wanted = max(wanted - len(batch.index), 0)
            if chosen is not None:
                here = torch.from_numpy(chosen[seen : seen + len(batch.index)])
                kept.append((batch.images[here], batch.index[here]))
            seen += len(batch.index)
        if views is not None and self.augment is not None:
            numbers = count(self.rank, self.world)  # no two batches have the same draws
            made = embed_views(
                self.encoders, kept, self.augment, views[1], device=self.device, numbers=numbers
            )
            found |= {_key(name, "views"): parts for name, parts in made.items()}
        return found


def chosen_rows(rows: Rows, wanted: int) -> NDArray[np.bool_]:
    """Which rows of a split are among `wanted` drawn ones: the same ones at every call."""
    total = len(split_rows(rows.plan, rows.split, rows.limit))
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[np.random.default_rng(0).permutation(total)[:wanted]] = True
    return chosen


def embed_views(
    encoders: Mapping[str, Encoder],
    kept: Sequence[tuple[Tensor, Tensor]],
    augment: Augment,
    views: int,
    *,
    device: torch.device,
    numbers: Iterator[int],
) -> Found:
    """`[b, views, D]` of each batch by encoder, of images and indexes. Batches are of a size of
    their own, on which draws depend.

    Args:
        numbers: of the draws.
    """
    found: Found = {name: [] for name in encoders}
    images, index = (
        (torch.cat(parts) for parts in zip(*kept, strict=True)) if kept else (torch.empty(0),) * 2
    )
    for start in range(0, len(images), VIEW_BATCH):
        pixels, samples = (part[start : start + VIEW_BATCH].to(device) for part in (images, index))
        features: Found = {name: [] for name in encoders}
        for _ in range(views):
            view = augment(pixels, samples, next(numbers))
            for name, encoder in encoders.items():
                features[name].append(encoder.embed(view).float().cpu())
        for name, parts in features.items():
            found[name].append(torch.stack(parts, dim=1))
    return found


def augmentation(views: ViewsConfig, image_size: int) -> Augment:
    """What `assess` augments with: SimCLR's preset, whatever the run's own views are, so that runs
    can be compared."""
    config = ViewsConfig(preset="simclr", mean=views.mean, std=views.std)
    pipeline = Views(config, ViewNeeds(global_views=1), image_size=image_size)

    def augment(images: Tensor, index: Tensor, draw: int) -> Tensor:
        return pipeline(images, index, seed=0, step=draw, global_batch=len(images)).views[0].data

    return augment


def views_wanted(evaluators: Iterable[Evaluator[Any]]) -> tuple[int, int] | None:
    """`assess`'s `views`: as many as suffice for all."""
    wanted = [needs for evaluator in evaluators if (needs := evaluator.views_wanted()) is not None]
    return (max(rows for rows, _ in wanted), max(views for _, views in wanted)) if wanted else None


def evaluators_of(
    config: EvaluationConfig, *, epoch: float | None = None, span: float = 0.0
) -> list[Evaluator[Any]]:
    """Those that are due between epochs `epoch - span` (excluded) and `epoch`; all of them with
    None."""
    from manta.evaluators import build

    def due(every: float | None) -> bool:
        return epoch is None or (
            every is not None and int(epoch / every + 1e-9) > int((epoch - span) / every + 1e-9)
        )

    return [build(entry) for entry in config.evaluators if due(entry.every)]


@contextmanager
def evaluating(*encoders: Encoder) -> Iterator[None]:
    """Encoders in evaluation mode, meanwhile."""
    modes = [encoder.training for encoder in encoders]
    try:
        for encoder in encoders:
            encoder.eval()
        yield
    finally:
        for encoder, mode in zip(encoders, modes, strict=True):
            encoder.train(mode)


def _assemble(parts: dict[str, Found], benches: dict[str, Bench]) -> Assessment:
    def joined(split: str, key: str) -> Tensor | None:
        tensors = parts[split].get(key)
        return torch.cat(tensors) if tensors else None

    features = {}
    for name in benches:
        bank, queries = joined("bank", _key(name)), joined("queries", _key(name))
        if bank is None or queries is None:
            raise DataError(
                "there are no rows to evaluate on; raise evaluation.holdout, or give `manta evaluate` more data"
            )
        features[name] = Features(
            bank,
            queries,
            joined("bank", "labels"),
            joined("queries", "labels"),
            joined("queries", _key(name, "views")),
        )
    queries_found = {
        key: torch.cat(parts["queries"][key]).numpy() for key in ("index", "images", "sampled")
    }
    thumbnails = np.ascontiguousarray(queries_found["images"].transpose(0, 2, 3, 1))
    return Assessment(
        features,
        benches,
        queries_found["index"],
        thumbnails,
        np.flatnonzero(queries_found["sampled"]),
    )


def _collect(parts: dict[str, Found], world: int) -> dict[str, Found]:
    """Every rank's tensors, rank after rank."""
    everyone: list[Any] = [None] * world
    dist.all_gather_object(everyone, parts)
    return {
        split: {key: [tensor for one in everyone for tensor in one[split][key]] for key in found}
        for split, found in parts.items()
    }


def read_alone(
    read: Reader,
    splits: Mapping[str, Rows],
    split: Literal["bank", "queries"],
    limit: int | None = None,
) -> Iterator[LabelledImages]:
    """`Bench.rows`: the rows of all ranks, read by this one."""
    rows = splits[split]
    rows = rows if limit is None else replace(rows, limit=min(limit, rows.limit))
    for batch in read(rows, rank=0, world=1):
        yield batch.images, batch.labels


def decoded(
    rows: Rows, *, size: int, rank: int, world: int, executor: Executor
) -> Iterator[LabelledBatch]:
    """The `Reader` that decodes."""
    return read_split(
        rows.manifest,
        rows.plan,
        rows.split,
        limit=rows.limit,
        size=size,
        rank=rank,
        world=world,
        executor=executor,
    )


def _key(encoder: str, what: str = "features") -> str:
    return f"{what}:{encoder}"


def _thumbnails(images: Tensor) -> Tensor:
    if images.shape[-1] <= THUMBNAIL:
        return images
    return (
        F.interpolate(images.float(), size=(THUMBNAIL, THUMBNAIL), mode="area")
        .round()
        .to(torch.uint8)
    )
