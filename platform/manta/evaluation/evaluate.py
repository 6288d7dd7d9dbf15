"""`manta evaluate`: any model on any data."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from manta.config import EvaluationConfig
from manta.data import split_rows
from manta.data.decode import BadImage, decode
from manta.data.read import read_rows
from manta.encoders.saved import DESCRIPTION
from manta.errors import RunError, TrackingError
from manta.evaluation.online import SAMPLES, THUMBNAIL, Rows
from manta.evaluation.session import Judging, Observer, Verdict, evaluators_named
from manta.evaluators import counted, interval, means
from manta.models.find import CHECKPOINT, checkpoint_of, model_folder, run_folder
from manta.models.restore import export
from manta.report.evaluation.page import write_evaluation
from manta.runs.build import untrained_encoder
from manta.runs.checkpoint import folder_name
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.runs.store import default_store, load_experiment
from manta.serving import save_encoder
from manta.serving.adapt import Preparation, adapted
from manta.serving.embed import weights_of
from manta.tracking import Tracker, exact_version, record_evaluation

PAGE, RESULT = "evaluation.html", "evaluation.json"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated: folders of saved encoders by name ("" is the one asked for).

    Attributes:
        model: as the user named it, but for aliases and newest checkpoints, which move: those are
            pinned.
        run_id, step: its run in MLflow and the step of its weights, if it is a run of Manta's.
        tracker: the store that has it.
    """

    name: str
    model: str
    folders: dict[str, Path]
    evaluation: EvaluationConfig
    tracker: Tracker
    run_id: str | None = None
    step: int | None = None


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
    """Evaluators on `data`; leaves `evaluation.html` and `evaluation.json`, and tells the model's
    record in MLflow.

    Args:
        model: as `model_folder` takes it; a run also gives the untrained encoder that it started
            with, its BatchNorm settled on the rows that probes learn from.
        bank: data that probes learn from, all of it; with None, `data` is split and 9 in 10 rows
            are the bank.
        evaluators: by name, or "all", with the run's settings or their defaults; None: those of the
            run.
        out: folder for the page; None: `evaluations/<model>-on-<data>[-from-<bank>]` beside the
            runs.
        preparation: of images, where it is not to be that of pretraining.

    Returns:
        name, metrics (with `random_` for the untrained encoder), intervals (95%, of what counts
        queries), evaluators (settings and names of metrics of each), skipped, rows, and page: where
        it lies.

    Raises:
        MantaError: anything that the user can mend.
    """
    observer, preparation = observer or Observer(), preparation or Preparation()
    with _subject(model, runs) as saved, _prepared(saved, preparation) as subject:
        judges = evaluators_named(
            [config.name for config in subject.evaluation.evaluators]
            if evaluators is None
            else evaluators,
            subject.evaluation.evaluators,
        )
        judging = Judging.of(data, bank, runs, observer, subject.evaluation)
        observer.notify(f"evaluating {subject.name}")
        if (untrained := subject.folders.get("random")) is not None:
            judging.settle(untrained)
        verdicts = {name: judging.judge(folder, judges) for name, folder in subject.folders.items()}
        main = verdicts[""]
        found = {
            "name": subject.name,
            "version": subject.model,
            "data": data,
            "digest": judging.asked.manifest.digest,
            **_numbers(verdicts),
            "evaluators": {
                judge.config.name: {
                    "settings": judge.config.model_dump(mode="json"),
                    "metrics": list(main.by_evaluator[judge.config.name]),
                }
                for judge in judges
                if judge.config.name in main.by_evaluator
            },
            "skipped": main.skipped,
            "bank_rows": len(main.features.bank),
            "query_rows": len(main.features.queries),
            "labelled": main.features.labelled,
            "note": _note(data, bank, main),
            "model": _facts(subject.folders[""]),
            "versions": {
                package: version(name)
                for package, name in (("manta", "manta-ssl"), ("torch", "torch"))
            },
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        }
        rows = _slug(data) if bank is None else f"{_slug(data)}-from-{_slug(bank)}"
        rows = "-".join(filter(None, [rows, preparation.name]))
        place = RunFolder(
            out or RunFolder(runs).url_of("evaluations", f"{_slug(subject.name)}-on-{rows}")
        )
        samples = _samples(judging.asked, main)
        with tempfile.TemporaryDirectory(prefix="manta-page-") as scratch:
            page = write_evaluation(found | {"samples": samples}, Path(scratch) / PAGE)
            place.write(page.read_bytes(), PAGE)
        place.write_json(found, RESULT)
        found["page"] = place.url_of(PAGE)
        _record(subject, found, rows, place, observer)
    return found


def _numbers(verdicts: dict[str, Verdict]) -> dict[str, dict[str, Any]]:
    metrics: dict[str, float] = {}
    intervals: dict[str, list[float]] = {}
    for name, verdict in verdicts.items():
        prefix = f"{name}_" if name else ""
        metrics |= {f"{prefix}{key}": value for key, value in means(verdict.scores).items()}
        intervals |= {
            f"{prefix}{key}": list(interval(one)) for key, one in counted(verdict.scores).items()
        }
    return {"metrics": metrics, "intervals": intervals}


def _note(data: str, bank: str | None, main: Verdict) -> str:
    learnt, asked = f"{len(main.features.bank):,} rows", f"{len(main.features.queries):,}"
    if bank is None:
        return f"probes learn from {learnt} of {data} and are scored on the other {asked}"
    return f"probes learn from {learnt} of {bank} and are scored on {asked} rows of {data}"


def _facts(folder: Path) -> dict[str, Any]:
    described = json.loads((folder / DESCRIPTION).read_text())
    return {
        "encoder": described["encoder"]["name"],
        "weights": weights_of(folder),
        **described["preprocess"],
    }


def _samples(asked: Rows, main: Verdict) -> dict[str, Any] | None:
    """Some queries to look at: pictures, features and labels."""
    rows = split_rows(asked.plan, asked.split, asked.limit)
    if len(rows) != len(main.features.queries):
        return None  # some cannot be read any more, and which features are whose is not known here
    places = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(np.int64))
    try:
        pictures = np.stack(
            [decode(data, THUMBNAIL) for data in read_rows(asked.manifest, rows[places]).data]
        )
    except BadImage:
        return None
    labels = main.features.query_labels
    return {
        "thumbnails": pictures,
        "features": main.features.queries[places].numpy(),
        "labels": None if labels is None else labels[places].numpy(),
        "classes": asked.manifest.classes,
    }


def _record(
    subject: Subject, found: dict[str, Any], rows: str, place: RunFolder, observer: Observer
) -> None:
    """A tracking server that is away costs the record, not the evaluation."""
    metrics = {key: value for key, value in found["metrics"].items() if math.isfinite(value)}
    with tempfile.TemporaryDirectory(prefix="manta-record-") as scratch:
        files = [Path(scratch) / piece for piece in (PAGE, RESULT)]
        for file in files:
            file.write_bytes(place.read(file.name))
        try:
            record_evaluation(
                subject.tracker,
                subject.model,
                subject.run_id,
                metrics,
                data=rows,
                digest=found["digest"],
                files=files,
                step=subject.step,
            )
        except TrackingError as error:
            observer.notify(f"MLflow does not have this evaluation; it is in {place.url}: {error}")


@contextmanager
def _subject(model: str, runs: str) -> Iterator[Subject]:
    tracker = Tracker(runs_dir=default_store(runs))
    run = _run_of(model, runs)
    step: int | None = None
    if run is None:
        exact = exact_version(tracker, model)
    else:
        exact, step = _pinned(model, run)
    with model_folder(exact, tracker, runs) as folder:
        if run is None:
            yield Subject(model, exact, {"": folder}, EvaluationConfig(), tracker)
            return
        experiment, facts = load_experiment(run), run.read_json("run.json")
        uri = facts.get("tracking_uri")
        tracker = Tracker(uri, runs_dir=default_store(runs)) if uri else tracker
        with tempfile.TemporaryDirectory(prefix="manta-untrained-") as scratch:
            untrained = export(experiment, untrained_encoder(experiment))
            twin = save_encoder(untrained, scratch, config=experiment.encoder).folder
            folders = {"": folder, "random": twin}
            name = f"{run.name} at step {step}"
            yield Subject(
                name, exact, folders, experiment.evaluation, tracker, facts.get("run_id"), step
            )


@contextmanager
def _prepared(subject: Subject, preparation: Preparation) -> Iterator[Subject]:
    if not preparation:
        yield subject
        return
    with tempfile.TemporaryDirectory(prefix="manta-prepared-") as scratch:
        folders = {
            name: adapted(folder, Path(scratch) / (name or "asked"), preparation)
            for name, folder in subject.folders.items()
        }
        yield replace(subject, folders=folders)


def _pinned(model: str, run: RunFolder) -> tuple[str, int]:
    """What `model_folder` takes for the weights that `model` means now, and their step."""
    whole = status(run) == "finished" and run.exists("encoder", DESCRIPTION)
    if whole and CHECKPOINT.fullmatch(model) is None:
        return model, int(run.read_json("run.json")["steps"])
    step = checkpoint_of(model, run).step
    return run.url_of("checkpoints", folder_name(step)), step


def _run_of(model: str, runs: str) -> RunFolder | None:
    """The run that `model` names; None where it names something else, or nothing: `model_folder`
    says what there is."""
    try:
        return run_folder(model, runs)
    except RunError:
        return None


def _slug(text: str) -> str:
    """Of a name or a path, something that files and metrics can be called."""
    words = re.sub(r"[^A-Za-z0-9.@]+", "-", text).strip("-.")
    return words[-60:].strip("-.") or "data"
