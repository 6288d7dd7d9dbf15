"""Features of encoders on the bank and the held-out rows, and what the evaluators say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from manta.config import EvaluationConfig
from manta.data import Manifest, Plan, read_split
from manta.data.stream import Executor, Split
from manta.encoders import Encoder
from manta.errors import DataError
from manta.evaluation import Evaluator, Features, evaluate

SAMPLES = 400
"""Held-out images kept for the report."""
THUMBNAIL = 64
"""Largest side of a kept image, in pixels."""

Found = dict[str, list[Tensor]]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What rank 0 knows of the encoders.

    Attributes:
        features: by encoder name.
        index: `[Q]` of the query rows.
        thumbnails: `[S, h, w, 3]` uint8 images of some query rows.
        sampled: `[S]` positions of those among the query rows.
    """

    features: dict[str, Features]
    index: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]
    sampled: NDArray[np.int64]

    def metrics(self, evaluators: Iterable[Evaluator[Any]]) -> dict[str, float]:
        """Every evaluator's numbers; the encoder named "" has no prefix, others `<name>_`."""
        chosen = list(evaluators)
        found: dict[str, float] = {}
        for name, features in self.features.items():
            prefix = f"{name}_" if name else ""
            found |= {f"{prefix}{key}": value for key, value in evaluate(chosen, features).items()}
        return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a dataset: a part of a plan's split, at most `limit` of them."""

    manifest: Manifest
    plan: Plan
    split: Split
    limit: int


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
) -> Assessment | None:
    """Embed both sets of rows with every encoder, decoding each image once.

    Every rank takes part; rank 0 gets the result.

    Args:
        encoders: by name; put into evaluation mode meanwhile.
        prepare: uint8 `[B, 3, S, S]` -> what an encoder takes.
        size: side of decoded images.
    """
    modes = {name: encoder.training for name, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.eval()
    reader = _Reader(encoders, prepare, size, device, executor)
    parts = {"bank": reader.read(bank, samples=0), "queries": reader.read(queries, samples=SAMPLES)}
    for name, encoder in encoders.items():
        encoder.train(modes[name])
    if reader.world > 1:
        parts = _collect(parts, reader.world)
    return None if reader.rank != 0 else _assemble(parts, list(encoders))


class _Reader:
    """One rank's pass over rows: features of every encoder, labels, indexes, and a few images."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        prepare: Callable[[Tensor], Tensor],
        size: int,
        device: torch.device,
        executor: Executor,
    ) -> None:
        self.encoders, self.prepare, self.size, self.device, self.executor = encoders, prepare, size, device, executor
        distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)

    def read(self, rows: Rows, *, samples: int) -> Found:
        """Tensors by name: `features:<encoder>`, "index", "labels", "images", and "sampled": of which rows."""
        found: Found = {key: [] for key in ("index", "labels", "images", "sampled", *map(_key, self.encoders))}
        wanted = -(-samples // self.world)
        for batch in read_split(
            rows.manifest,
            rows.plan,
            rows.split,
            limit=rows.limit,
            size=self.size,
            rank=self.rank,
            world=self.world,
            executor=self.executor,
        ):
            prepared = self.prepare(batch.images.to(self.device, non_blocking=True))
            for name, encoder in self.encoders.items():
                found[_key(name)].append(encoder.embed(prepared).float().cpu())
            found["index"].append(batch.index)
            if batch.labels is not None:
                found["labels"].append(batch.labels)
            found["images"].append(_thumbnails(batch.images[:wanted]))
            found["sampled"].append(torch.arange(len(batch.index)) < wanted)
            wanted = max(wanted - len(batch.index), 0)
        return found


def evaluators_of(config: EvaluationConfig, *, epoch: float | None = None, span: float = 0.0) -> list[Evaluator[Any]]:
    """Those that are due between epochs `epoch - span` (excluded) and `epoch`; all of them with None."""
    from manta.evaluation import build

    def due(every: float | None) -> bool:
        return epoch is None or (every is not None and int(epoch / every + 1e-9) > int((epoch - span) / every + 1e-9))

    return [build(entry) for entry in config.evaluators if due(entry.every)]


def _assemble(parts: dict[str, Found], names: list[str]) -> Assessment:
    def joined(split: str, key: str) -> Tensor | None:
        tensors = parts[split][key]
        return torch.cat(tensors) if tensors else None

    features = {}
    for name in names:
        bank, queries = joined("bank", _key(name)), joined("queries", _key(name))
        if bank is None or queries is None:
            raise DataError(
                "there are no rows to evaluate on; raise evaluation.holdout, or give `manta evaluate` more data"
            )
        features[name] = Features(bank, queries, joined("bank", "labels"), joined("queries", "labels"))
    queries_found = {key: torch.cat(parts["queries"][key]).numpy() for key in ("index", "images", "sampled")}
    thumbnails = np.ascontiguousarray(queries_found["images"].transpose(0, 2, 3, 1))
    return Assessment(features, queries_found["index"], thumbnails, np.flatnonzero(queries_found["sampled"]))


def _collect(parts: dict[str, Found], world: int) -> dict[str, Found]:
    """Every rank's tensors, rank after rank."""
    everyone: list[Any] = [None] * world
    dist.all_gather_object(everyone, parts)
    return {
        split: {key: [tensor for one in everyone for tensor in one[split][key]] for key in found}
        for split, found in parts.items()
    }


def _key(encoder: str) -> str:
    return f"features:{encoder}"


def _thumbnails(images: Tensor) -> Tensor:
    if images.shape[-1] <= THUMBNAIL:
        return images
    return F.interpolate(images.float(), size=(THUMBNAIL, THUMBNAIL), mode="area").round().to(torch.uint8)
