"""Runs of `benchmarks/modalities.py --local`: the worker's own loop in this process, without Ray.

The batches, views, losses and weights are those of `manta train` with the same settings. MLflow's
record, the page and the export are left out, and with them most of the time of a run of seconds.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PART = 128
"""Rows that are embedded at a time."""


@dataclass(frozen=True)
class Trained:
    """A run's encoder and the untrained one, and how rows reach them.

    Attributes:
        prepare: decoded rows to the encoder's input.
    """

    experiment: Any
    encoder: Any
    untrained: Any
    prepare: Any
    decoder: Any


def train(recipe: str, data: Path, changes: Mapping[str, Any], scratch: Path) -> Trained:
    """Train a recipe with changes on data; return its encoders in evaluation mode."""
    import manta
    from manta.data import open_dataset
    from manta.runs.folder import RunFolder
    from manta.runs.lease import Lease
    from manta.training.loop import Worker
    from manta.training.task import Task

    scratch.mkdir(parents=True, exist_ok=True)
    experiment = manta.load_recipe(recipe, dict(changes), data=data, progress=False)
    location = ingested(data, experiment, scratch)
    folder = RunFolder(tempfile.mkdtemp(dir=scratch))
    lease = Lease.take(folder)
    worker = Worker(
        Task(
            experiment=experiment,
            dataset=location,
            folder=folder.url,
            attempt=lease.attempt,
            run_id="",
            tracking_uri="",
            started=time.time(),
            executor="local",
            saves_views=False,
        )
    )
    objective = worker.step.objective
    untrained = copy.deepcopy(objective.exported).eval()
    worker.run()
    worker.close()
    modality = experiment.modality(open_dataset(location).stats)
    preprocess = modality.preprocess(experiment.views)
    return Trained(
        experiment, objective.exported.eval(), untrained, preprocess.ready, modality.decoder()
    )


def ingested(data: Path, experiment: Any, scratch: Path) -> str:
    """Ingest data in this process, if that is not done; return the dataset's location."""
    from manta.data import SourceOptions, ingest

    out = scratch / f"{data.stem}.manta"
    if not out.exists():
        options = SourceOptions.of(experiment.data)
        ingest(data, out, options=options, modality=experiment.modality(), executor="local")
    return str(out)


def accuracies(
    model: Trained,
    encoder: Any,
    bank: Path,
    queries: Path,
    evaluators: Sequence[Any],
    scratch: Path,
) -> dict[str, float]:
    """Return the numbers of evaluators of features, with rows of `bank` to learn from."""
    from manta.evaluators import Features, build

    features, labels = zip(
        *(features_of(model, encoder, part, scratch) for part in (bank, queries)), strict=True
    )
    of_both = Features(*features, *labels)
    scores = [build(config).mean_scores(of_both) for config in evaluators]
    return {name: value for one in scores for name, value in one.items()}


def features_of(model: Trained, encoder: Any, data: Path, scratch: Path) -> tuple[Any, Any]:
    """Return features `[N, D]` and class numbers `[N]`, whose order is that of the names."""
    import torch

    from manta.data import open_dataset
    from manta.data.read import read_labels

    manifest = open_dataset(ingested(data, model.experiment, scratch))
    names = sorted(manifest.classes or ())
    numbers = [names.index(name) for name in manifest.classes or ()]
    found = read_labels(manifest, np.arange(manifest.rows)) or []
    labels = torch.tensor([-1 if label is None else numbers[label] for label in found])
    with torch.no_grad():
        parts = [encoder(model.prepare(rows)).float() for rows in decoded(model, manifest)]
    return torch.cat(parts), labels


def decoded(model: Trained, manifest: Any) -> Iterator[Any]:
    """Yield decoded rows of a dataset in parts."""
    from manta.data.arrays import as_tensors
    from manta.data.read import decode_rows, read_rows

    for rows in np.array_split(np.arange(manifest.rows), -(-manifest.rows // PART)):
        data = read_rows(manifest, rows).data
        yield as_tensors(decode_rows(manifest, rows, data, model.decoder))


def forecasts(model: Trained, encoder: Any, data: Path, config: Any, scratch: Path) -> dict:
    """Return the numbers of the evaluator `forecast`, which has data of its own."""
    import torch

    from manta.data import open_dataset
    from manta.evaluators import EncoderAccess, build

    manifest = open_dataset(ingested(data, model.experiment, scratch))

    def rows(split: str, limit: int | None = None) -> Iterator[Any]:
        yield next(decoded(model, manifest)), None

    access = EncoderAccess(encoder, model.prepare, 0, torch.device("cpu"), rows, "series")
    return build(config).mean_scores(None, access)
