"""Files that a worker writes for the report: views, samples with their features, the evaluation."""

from __future__ import annotations

import io
import traceback
from typing import Any

import numpy as np
import torch

from manta.config import Experiment
from manta.data import RankBatch
from manta.evaluation.online import Measured, SplitFeatures
from manta.evaluation.pictures import kept_words_and_sounds
from manta.ragged import rows_of
from manta.runs.folder import RunFolder
from manta.training.step import TrainStep

MOST_NAMES = 10_000
"""Classes whose names are kept with the samples, at most."""
LONGEST_SHOWN = 1024
"""Largest side in pixels of a picture there."""


def save_views(folder: RunFolder, step: TrainStep, batch: RankBatch) -> None:
    """Write `artifacts/views.npz`: a few samples, and the views of them that a step trained on.

    Args:
        batch: what the run's first step was given.
    """
    seen = step.first_views
    if seen is None:
        return
    data = rows_of(batch.data, slice(len(seen)))
    sheet: dict[str, Any] = {"source": step.modality.pictures(data, LONGEST_SHOWN).numpy()}
    for number, view in enumerate(seen.views):
        pixels = step.views.shown(view).mul(255).round().to(torch.uint8)
        sheet[f"view_{number}"] = pixels.permute(0, 2, 3, 1).numpy()
    _save_npz(folder, sheet, "artifacts", "views.npz")


def save_evaluation(
    folder: RunFolder,
    experiment: Experiment,
    splits: SplitFeatures,
    measured: Measured,
    *,
    step: int,
    classes: list[str] | None = None,
) -> None:
    """Write `evaluation.json`, and `artifacts/samples.npz` with some of the query rows.

    Tracebacks of evaluators that failed go to `evaluation-errors.txt`.

    Args:
        splits: features of the trained encoder, under the name "", and of other encoders.
        step: number of optimizer steps done.
        classes: names of the labels from 0, if they have some.
    """
    trained = splits.features[""]
    rows = splits.sampled
    samples: dict[str, Any] = {"thumbnails": splits.thumbnails, "index": splits.index[rows]}
    samples |= kept_words_and_sounds(splits.pictures)
    for name, features in splits.features.items():
        samples[f"{name}_features" if name else "features"] = features.queries.numpy()[rows]
    if trained.query_labels is not None:
        samples["labels"] = trained.query_labels.numpy()[rows]
        if classes and len(classes) <= MOST_NAMES:
            samples["classes"] = np.array(classes)
    _save_npz(folder, samples, "artifacts", "samples.npz")
    if measured.failures:
        traces = ["".join(traceback.format_exception(one)) for one in measured.failures.values()]
        folder.write("\n".join(traces).encode(errors="backslashreplace"), "evaluation-errors.txt")
    counts = trained.label_counts
    folder.write_json(
        {
            "step": step,
            "metrics": measured.metrics,
            "skipped": measured.skipped,
            "settings": {
                entry.name: entry.model_dump() for entry in experiment.evaluation.evaluators
            },
            "bank_rows": len(trained.bank),
            "query_rows": len(trained.queries),
            "labelled": bool(counts.labelled_bank and counts.labelled_queries),
            "labels": counts.labelled,
            **({"floor": splits.floor_title} if splits.floor is not None else {}),
        },
        "evaluation.json",
    )


def _save_npz(folder: RunFolder, arrays: dict[str, Any], *parts: str) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    folder.write(buffer.getvalue(), *parts)
