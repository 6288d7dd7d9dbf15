"""Evaluation of encoders that live in this process, such as those in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from manta.config import EvaluationConfig
from manta.data.stream import Executor
from manta.encoders import Encoder
from manta.errors import DataError, MantaError
from manta.evaluation.augmented import Augment, chosen_rows, embed_views
from manta.evaluation.features import image_side
from manta.evaluation.floor import FLOOR, floor_scores, in_place_of
from manta.evaluation.rows import JointGroups, Reader, SplitRows, decoded, most_classes, read_alone
from manta.evaluators import (
    EncoderAccess,
    Evaluator,
    Features,
    build,
    evaluate_all,
    means,
    missing_input,
    of_encoder,
)
from manta.modalities import Floor, Modality, Picture
from manta.ragged import Data, Leaves, moved, rows_of

SAMPLES = 400
"""Held-out rows whose pictures are kept for the report."""

Parts = dict[str, list[Any]]
"""Tensors of one batch after the other, by what they are; of rows to look at, pictures."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What evaluators gave.

    Attributes:
        metrics: numbers; those of the encoder named "" have no prefix, those of others, and of the
            floor, `<name>_`.
        skipped: why an evaluator gave nothing, by its name: "needs labels", "failed: ...".
        failures: what those raised that failed, by their names.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitFeatures:
    """Features of bank and queries, which rank 0 has of every encoder.

    Attributes:
        features: by encoder name.
        accesses: by encoder name; the encoders themselves.
        index: `[Q]` of the query rows.
        pictures: of some query rows.
        sampled: `[S]` positions of those among the query rows.
        floor: features that nothing has learned; None where none were asked for.
        floor_title: what those are; empty where there are none.
    """

    features: dict[str, Features]
    accesses: dict[str, EncoderAccess]
    index: NDArray[np.int64]
    pictures: list[Picture]
    sampled: NDArray[np.int64]
    floor: Features | None = None
    floor_title: str = ""

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        """`[S, h, w, 3]` uint8, the pixels of the pictures."""
        return np.stack([one.pixels for one in self.pictures])

    def measure(self, evaluators: Iterable[Evaluator[Any]]) -> Measured:
        """Return every evaluator's numbers.

        One that raises costs its own numbers only: what was trained is not lost by it.
        """
        chosen, measured = list(evaluators), Measured()
        for name, features in self.features.items():
            for evaluator in chosen:
                metrics = self._scores_of(evaluator, name, features, measured)
                measured.metrics.update(of_encoder(name, metrics))
        if self.floor is not None:
            scores, failures = floor_scores(self.floor, chosen, self.accesses[""].modality)
            for own in scores.values():
                measured.metrics.update({f"{FLOOR}_{key}": one for key, one in means(own).items()})
            measured.skipped.update({f"{name}, floor": why for name, why in failures.items()})
        return measured

    def _scores_of(
        self, evaluator: Evaluator[Any], name: str, features: Features, measured: Measured
    ) -> dict[str, float]:
        """Return an evaluator's numbers of one encoder; say in `measured` why there are none."""
        access, about = self.accesses[name], evaluator.config.name
        if (missing := missing_input(evaluator, features, access)) is not None:
            measured.skipped[about] = f"needs {missing}"
            return {}
        try:
            with evaluating(access.encoder):
                return means(evaluate_all([evaluator], features, access))
        except Exception as error:
            words = f"{type(error).__name__}: {' '.join(str(error).split())}"
            is_told = isinstance(error, MantaError)
            measured.skipped[about] = str(error) if is_told else f"failed: {words}"
            measured.failures[about] = error
            return {}


@torch.no_grad()
def embed_splits(
    encoders: Mapping[str, Encoder],
    bank: SplitRows,
    queries: SplitRows,
    *,
    prepare: Callable[[Leaves], Data],
    modality: Modality[Any],
    device: torch.device,
    executor: Executor = "ray",
    read: Reader | None = None,
    augment: Augment | None = None,
    views: tuple[int, int] | None = None,
    floor: Floor | None = None,
) -> SplitFeatures | None:
    """Embed both sets of rows with every encoder, decoding each row once.

    Every rank takes part; rank 0 gets the result, the others None.

    Args:
        encoders: by name; put into evaluation mode meanwhile.
        prepare: decoded rows -> the encoder's input.
        modality: of the samples.
        read: None decodes the rows, by `executor`. The result reads by it again, for evaluators of
            the encoder itself.
        augment: makes the views of `Features.views`; without it there are none.
        views: `(rows, views)` that evaluators require; the rows are drawn from the queries.
        floor: features that nothing has learned, to measure them too.
    """
    distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    rank, world = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    decoder = modality.decoder()
    read = read or partial(decoded, decoder=decoder, executor=executor)
    embedder = _Embedder(encoders, prepare, augment, device, read, rank, world, modality, floor)
    with evaluating(*encoders.values()):
        parts = {
            "bank": embedder.embed(bank),
            "queries": embedder.embed(queries, samples=SAMPLES, views=views),
        }
    if world > 1:
        parts = _gathered(parts, world)
    if rank != 0:
        return None
    rows = partial(read_alone, read, {"bank": bank, "queries": queries})
    return _assembled(
        parts,
        {
            name: EncoderAccess(
                encoder, prepare, image_side(decoder), device, rows, modality.name, decoder
            )
            for name, encoder in encoders.items()
        },
        bank,
        queries,
        floor,
    )


def due_evaluators(
    config: EvaluationConfig, *, epoch: float | None = None, span: float = 0.0
) -> list[Evaluator[Any]]:
    """Return the evaluators that are due after epoch `epoch - span`, and up to `epoch`.

    With None, all of them.
    """

    def due(every: float | None) -> bool:
        if epoch is None:
            return True
        if every is None:
            return False
        # Rounded up a little: 0.3 / 0.1 is below 3.
        return int(epoch / every + 1e-9) > int((epoch - span) / every + 1e-9)

    return [build(entry) for entry in config.evaluators if due(entry.every)]


@contextmanager
def evaluating(*encoders: Encoder) -> Iterator[None]:
    """Keep encoders in evaluation mode, and restore their modes at the end."""
    modes = [encoder.training for encoder in encoders]
    try:
        for encoder in encoders:
            encoder.eval()
        yield
    finally:
        for encoder, mode in zip(encoders, modes, strict=True):
            encoder.train(mode)


@dataclass(frozen=True, slots=True)
class _Embedder:
    """One rank's pass over rows."""

    encoders: Mapping[str, Encoder]
    prepare: Callable[[Leaves], Data]
    augment: Augment | None
    device: torch.device
    read: Reader
    rank: int
    world: int
    modality: Modality[Any]
    floor: Floor | None = None

    def embed(
        self, rows: SplitRows, *, samples: int = 0, views: tuple[int, int] | None = None
    ) -> Parts:
        """Return features of every encoder, labels, indexes, and a few pictures.

        By name: `features:<encoder>`, the floor's among them, `views:<encoder>`, "index", "labels",
        "pictures", and "sampled": which rows the pictures are of.
        """
        names = ("index", "labels", "pictures", "sampled", *map(_key, self.encoders))
        parts: Parts = {name: [] for name in names}
        augmented = None
        if views is not None and self.augment is not None:
            augmented = np.array_split(chosen_rows(rows, views[0]), self.world)[self.rank]
        to_augment: list[tuple[Leaves, Tensor]] = []
        samples_left = -(-samples // self.world)
        seen = 0
        for batch in self.read(rows, rank=self.rank, world=self.world):
            prepared = self.prepare(moved(batch.data, self.device))
            for name, encoder in self.encoders.items():
                parts[_key(name)].append(encoder.embed(prepared).float().cpu())
            if self.floor is not None:
                parts.setdefault(_key(FLOOR), []).append(self.floor(batch.data))
            parts["index"].append(batch.index)
            if batch.labels is not None:
                parts["labels"].append(rows.class_of(batch.labels))
            if samples_left:
                shown = rows_of(batch.data, slice(samples_left))
                parts["pictures"] += self.modality.pictured(shown)
            parts["sampled"].append(torch.arange(len(batch.index)) < samples_left)
            samples_left = max(samples_left - len(batch.index), 0)
            if augmented is not None:
                here = torch.from_numpy(augmented[seen : seen + len(batch.index)])
                to_augment.append((rows_of(batch.data, here), batch.index[here]))
            seen += len(batch.index)
        if views is not None and self.augment is not None:
            # Ranks count in turns, so that no two batches have the same draws.
            numbers = count(self.rank, self.world)
            embedded = embed_views(
                self.encoders,
                to_augment,
                self.augment,
                views[1],
                device=self.device,
                numbers=numbers,
            )
            parts |= {_key(name, "views"): tensors for name, tensors in embedded.items()}
        return parts


def _gathered(parts: dict[str, Parts], world: int) -> dict[str, Parts]:
    """Return every rank's tensors, rank after rank."""
    everyone: list[Any] = [None] * world
    dist.all_gather_object(everyone, parts)
    return {
        split: {key: [tensor for one in everyone for tensor in one[split][key]] for key in own}
        for split, own in parts.items()
    }


def _assembled(
    parts: dict[str, Parts],
    accesses: dict[str, EncoderAccess],
    bank_rows: SplitRows,
    query_rows: SplitRows,
    floor: Floor | None = None,
) -> SplitFeatures:
    """Return the features of all ranks."""
    read = [torch.cat(parts[split]["index"] or [torch.empty(0)]) for split in ("bank", "queries")]
    groups = JointGroups.of(bank_rows, query_rows, read[0].numpy(), read[1].numpy())

    def joined(split: str, key: str) -> Tensor | None:
        tensors = parts[split].get(key)
        return torch.cat(tensors) if tensors else None

    features = {}
    for name in accesses:
        bank, queries = joined("bank", _key(name)), joined("queries", _key(name))
        if bank is None or queries is None:
            raise DataError(
                "there are no rows to evaluate on; raise evaluation.holdout, "
                "or give `manta evaluate` more data"
            )
        features[name] = Features(
            bank,
            queries,
            joined("bank", "labels"),
            joined("queries", "labels"),
            joined("queries", _key(name, "views")),
            most_classes(bank_rows, query_rows),
            *groups.fields,
        )
    index, sampled = (torch.cat(parts["queries"][key]).numpy() for key in ("index", "sampled"))
    pictures = parts["queries"]["pictures"]
    found = SplitFeatures(features, accesses, index, pictures, np.flatnonzero(sampled))
    own_bank, own_queries = joined("bank", _key(FLOOR)), joined("queries", _key(FLOOR))
    if floor is None or own_bank is None or own_queries is None:
        return found
    of_floor = in_place_of(next(iter(features.values())), floor, own_bank, own_queries)
    return replace(found, floor=of_floor, floor_title=floor.title)


def _key(encoder: str, what: str = "features") -> str:
    return f"{what}:{encoder}"
