"""The floor: what evaluators give of features that nothing has learned, beside any encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from manta.data import LabelledBatch
from manta.data.stream import Executor
from manta.errors import DataError
from manta.evaluation.rows import SplitRows, decoded
from manta.evaluators import (
    Evaluator,
    Features,
    Scores,
    evaluate_all,
    missing_input,
    missing_modality,
    of_floor,
)
from manta.files import Place
from manta.modalities import Floor, Modality

FLOOR = "floor"
"""Its name among encoders; with `_` the prefix of its metrics."""
FLOOR_VERSION = 2
"""Version of what this code makes of a row; with a new one, nothing that was kept is read."""


def floor_scores(
    features: Features, evaluators: Iterable[Evaluator[Any]], modality: str
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Return scores of the floor's features by evaluator, and why others of them failed.

    Only of evaluators that say something of features which no encoder has made. One that fails
    costs no number of an encoder.
    """
    by_evaluator: dict[str, Scores] = {}
    failures: dict[str, str] = {}
    for evaluator in evaluators:
        name = evaluator.config.name
        is_of_others = missing_modality(evaluator, modality) or missing_input(evaluator, features)
        if is_of_others or not of_floor(evaluator):
            continue  # what it lacks is said of the encoders
        try:
            by_evaluator[name] = evaluate_all([evaluator], features)
        except Exception as error:
            words = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failures[name] = f"failed: {words}"
    return by_evaluator, failures


def in_place_of(features: Features, floor: Floor, bank: Tensor, queries: Tensor) -> Features:
    """Return features of the floor for the same rows: `[M, D]` and `[Q, D]` as it made them."""
    fitted = floor.fitted(bank, queries)
    return replace(features, bank=fitted[0].float(), queries=fitted[1].float(), views=None)


def kept_floor(
    root: str,
    modality: Modality[Any],
    bank: SplitRows,
    queries: SplitRows,
    features: Features,
    *,
    executor: Executor = "ray",
) -> Features | None:
    """Return the floor's features of the rows that `features` are of.

    What was made once is read again.

    Args:
        root: URL of the folder with features; every part of it may be deleted at any time.
        modality: of the samples, with the settings by which they are decoded.

    Returns:
        None where the modality has no floor.

    Raises:
        DataError: a row cannot be read any more.
    """
    floor = modality.floor()
    if floor is None:
        return None
    read = partial(decoded, decoder=modality.decoder(), rank=0, world=1, executor=executor)
    made_by = [floor.title, FLOOR_VERSION, modality.data.model_dump_json()]
    made_by += [json.dumps(modality.stats, sort_keys=True, default=str)]
    own, other = (_kept(root, made_by, rows, floor, read) for rows in (bank, queries))
    if (len(own), len(other)) != (len(features.bank), len(features.queries)):
        raise DataError("some rows cannot be read any more, and it would be of others")
    return in_place_of(features, floor, own, other)


def _kept(
    root: str,
    made_by: Sequence[Any],
    rows: SplitRows,
    floor: Floor,
    read: Callable[[SplitRows], Iterator[LabelledBatch]],
) -> Tensor:
    """Return the floor's features `[N, D]` of some rows, from where they are kept."""
    versions = [f"{package} {version(package)}" for package in ("manta-ssl", "torch", "pillow")]
    code = hashlib.sha256(f"{[*made_by, *versions]}".encode()).hexdigest()[:8]
    selection = hashlib.sha256(rows.indexes.tobytes()).hexdigest()[:16]
    kept = Place.of(f"{root}/{FLOOR}-{rows.manifest.digest[:16]}-{code}/{selection}.safetensors")
    if kept.exists():
        stored: dict[str, Tensor] = safetensors.torch.load(kept.read())
        return stored[FLOOR]
    made = torch.cat([floor(batch.data) for batch in read(rows)])
    kept.parent.make()
    with kept.writing() as file:
        file.write(safetensors.torch.save({FLOOR: made.contiguous()}))
    return made
