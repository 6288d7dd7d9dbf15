"""`manta evaluate`: any model on any data."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from manta.data.read import read_rows
from manta.data.samples import modality_of
from manta.encoders.saved import DESCRIPTION
from manta.errors import TrackingError
from manta.evaluation.floor import FLOOR
from manta.evaluation.online import SAMPLES
from manta.evaluation.own_rows import Training, scored_rows
from manta.evaluation.pictures import kept_words_and_sounds
from manta.evaluation.session import (
    EvaluationResult,
    EvaluationSession,
    Observer,
    evaluators_named,
)
from manta.evaluation.subject import UNTRAINED, Subject, subject_of
from manta.evaluators import Evaluator, counted, interval, means, of_encoder
from manta.modalities import BadSample, Modality
from manta.models.samples import Taken
from manta.report.evaluation.page import write_evaluation
from manta.runs.folder import RunFolder
from manta.serving.adapt import Preparation
from manta.serving.embed import weights_of
from manta.tracking import record_evaluation

PAGE, RESULT = "evaluation.html", "evaluation.json"


def evaluate_model(
    model: str,
    data: str,
    *,
    bank: str | None = None,
    evaluators: Sequence[str] | None = None,
    runs: str = "manta-runs",
    out: str | None = None,
    preparation: Preparation | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Evaluate a model, write `evaluation.html` and `evaluation.json`, and record it in MLflow.

    Args:
        model: as `model_folder` takes it; a run also gives the untrained encoder that it started
            with, its BatchNorm recalibrated on the rows that probes learn from.
        bank: data that probes learn from, all of it; with None, `data` is split and 9 in 10 rows
            are the bank.
        evaluators: by name, or "all", with the run's settings or their defaults; None: those of the
            run.
        out: folder for the page; None: `evaluations/<model>-on-<data>[-from-<bank>]` beside the
            runs.
        preparation: of images, where it is not to be that of pretraining.

    Returns:
        name, metrics (with `random_` for the untrained encoder, `floor_` for features that nothing
        has learned), intervals (95%, of what counts queries), floor (what those are), evaluators
        (settings and names of metrics of each), skipped, rows, and page: where it lies.

    Raises:
        MantaError: anything that the user can mend.
    """
    observer, preparation = observer or Observer(), preparation or Preparation()
    with subject_of(model, runs, preparation) as subject:
        own = subject.evaluation.evaluators
        names = [config.name for config in own] if evaluators is None else evaluators
        chosen = evaluators_named(names, own)
        trainings = [Training.of(subject.model, runs)]
        session = EvaluationSession.start(
            data,
            bank,
            runs,
            observer,
            subject.evaluation,
            trainings,
            taken=Taken.by(subject.folders[""]),
        )
        session.check(chosen)
        observer.notify(f"evaluating {subject.name}")
        if (untrained := subject.folders.get(UNTRAINED)) is not None:
            session.recalibrate_batchnorm(untrained)
        results = {
            name: session.evaluate(folder, chosen) for name, folder in subject.folders.items()
        }
        modality = subject.modality or modality_of(session.bank.manifest)
        if (floor := session.floor(modality, results[""].features, chosen)) is not None:
            results[FLOOR] = floor
        note = _note(data, bank, results[""], session.classes.missing)
        scored = scored_rows(session.queries, len(results[""].features.queries))
        statement = {
            "name": subject.name,
            "version": subject.model,
            "data": data,
            "digest": session.queries.manifest.digest,
            **_modality(session.queries.manifest.modality),
            **_numbers(results),
            **_conditions(chosen, results[""]),
            **_floor(modality, results),
            "note": f"{note}; {scored}",
            "model": _model_facts(subject.folders[""]),
        }
        rows = _slug(data) if bank is None else f"{_slug(data)}-from-{_slug(bank)}"
        rows = "-".join(filter(None, [rows, preparation.name]))
        default = RunFolder(runs).url_of("evaluations", f"{_slug(subject.name)}-on-{rows}")
        folder = RunFolder(out or default)
        _write(folder, statement, _samples(session, results[""]))
        _record(subject, statement, rows, folder, observer)
    return statement | {"page": folder.url_of(PAGE)}


def _numbers(results: Mapping[str, EvaluationResult]) -> dict[str, dict[str, Any]]:
    """Return metrics and intervals of all encoders, with `<name>_` before those of all but ""."""
    metrics: dict[str, float] = {}
    intervals: dict[str, list[float]] = {}
    for name, result in results.items():
        metrics |= of_encoder(name, means(result.scores))
        scores = of_encoder(name, counted(result.scores))
        intervals |= {key: list(interval(one)) for key, one in scores.items()}
    return {"metrics": metrics, "intervals": intervals}


def _conditions(chosen: Sequence[Evaluator[Any]], result: EvaluationResult) -> dict[str, Any]:
    """Return what was measured how, on how many rows, by which versions, and when."""
    counts = result.features.label_counts
    ran = {one.config.name: one for one in chosen if one.config.name in result.by_evaluator}
    return {
        "evaluators": {
            name: {
                "settings": evaluator.config.model_dump(mode="json"),
                "metrics": list(result.by_evaluator[name]),
            }
            for name, evaluator in ran.items()
        },
        "skipped": result.skipped,
        "bank_rows": len(result.features.bank),
        "query_rows": len(result.features.queries),
        "labelled": bool(counts.labelled_bank and counts.labelled_queries),
        "labels": counts.labelled,
        "versions": {"manta": version("manta-ssl"), "torch": version("torch")},
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _note(
    data: str, bank: str | None, result: EvaluationResult, missing: Sequence[str] = ()
) -> str:
    """Return what probes learnt from and were scored on.

    Args:
        missing: names of the queries' classes that the bank lacks.
    """
    bank_rows = f"{len(result.features.bank):,} rows"
    queries = f"{len(result.features.queries):,}"
    counts = result.features.label_counts
    labels = f"; {counts.labelled}" if counts.labelled else ""
    if missing and 0 < counts.strange_queries < counts.labelled_queries:
        labels += f"; {counts.strange_queries:,} rows of classes that {bank} lacks count as wrong"
    if bank is None:
        words = f"probes learn from {bank_rows} of {data} and are scored on the other {queries}"
    else:
        words = (
            f"probes learn from {bank_rows} of {bank} and are scored on {queries} rows of {data}"
        )
    return words + labels


def _modality(name: str) -> dict[str, str]:
    """Return what a statement says of its samples: nothing of images, as earlier ones did."""
    return {} if name == "image" else {"modality": name}


def _floor(modality: Modality[Any], results: Mapping[str, EvaluationResult]) -> dict[str, str]:
    """Return what the floor's features are, where there are numbers of them."""
    floor = modality.floor()
    return {"floor": floor.title} if floor is not None and FLOOR in results else {}


def _model_facts(folder: Path) -> dict[str, Any]:
    description = json.loads((folder / DESCRIPTION).read_text())
    return {
        "encoder": description["encoder"]["name"],
        "weights": weights_of(folder),
        **description["preprocess"],
    }


def _samples(session: EvaluationSession, result: EvaluationResult) -> dict[str, Any] | None:
    """Return pictures, features and labels of some queries; None where they cannot be matched."""
    queries = session.queries
    rows = queries.indexes
    if len(rows) != len(result.features.queries):
        # Some cannot be read any more, and which features are whose is not known here.
        return None
    spread = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows)))
    places = np.unique(spread.astype(np.int64))
    files = read_rows(queries.manifest, rows[places]).data
    modality = modality_of(queries.manifest)
    try:
        pictures = [modality.picture_of(file) for file in files]
    except BadSample:
        return None
    labels = result.features.query_labels
    return {
        "thumbnails": np.stack([one.pixels for one in pictures]),
        **kept_words_and_sounds(pictures),
        "features": result.features.queries[places].numpy(),
        "labels": None if labels is None else labels[places].numpy(),
        "classes": session.classes.names,
    }


def _write(
    folder: RunFolder, statement: Mapping[str, Any], samples: Mapping[str, Any] | None
) -> None:
    # The page is written here first, since the folder may be on remote storage.
    with tempfile.TemporaryDirectory(prefix="manta-page-") as scratch:
        page = write_evaluation({**statement, "samples": samples}, Path(scratch) / PAGE)
        folder.write(page.read_bytes(), PAGE)
    folder.write_json(dict(statement), RESULT)


def _record(
    subject: Subject,
    statement: Mapping[str, Any],
    rows: str,
    folder: RunFolder,
    observer: Observer,
) -> None:
    """Log the evaluation on the model's run.

    A tracking server that is away costs the record, not the evaluation.
    """
    metrics = {key: value for key, value in statement["metrics"].items() if math.isfinite(value)}
    with tempfile.TemporaryDirectory(prefix="manta-record-") as scratch:
        files = [Path(scratch) / name for name in (PAGE, RESULT)]
        for file in files:
            file.write_bytes(folder.read(file.name))
        try:
            record_evaluation(
                subject.tracker,
                subject.model,
                subject.run_id,
                metrics,
                data=rows,
                digest=statement["digest"],
                files=files,
                step=subject.step,
            )
        except TrackingError as error:
            observer.notify(f"MLflow does not have this evaluation; it is in {folder.url}: {error}")


def _slug(text: str) -> str:
    """Return a name or a path as something that files and metrics can be called."""
    words = re.sub(r"[^A-Za-z0-9.@]+", "-", text).strip("-.")
    return words[-60:].strip("-.") or "data"
