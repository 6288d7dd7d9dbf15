"""Publication of a run: the exported model, its registration, the report and the summary."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manta.config import Experiment
from manta.data import Manifest
from manta.encoders import Encoder
from manta.encoders.saved import DESCRIPTION
from manta.errors import TrackingError
from manta.models.card import card_of
from manta.models.restore import export, exported_encoder
from manta.report import write_plots, write_report
from manta.runs.checkpoint import Checkpoints
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.runs.store import stats_of
from manta.serving import save_encoder
from manta.tracking import Tracker, log_model

PIECES = (
    "experiment.yaml",
    "run.json",
    "metrics.jsonl",
    "evaluation.json",
    "artifacts/samples.npz",
    "artifacts/views.npz",
)
"""Files from which the plots and the page are drawn."""


def publish(
    folder: RunFolder,
    experiment: Experiment,
    manifest: Manifest,
    tracker: Tracker,
    run_id: str,
    result: dict[str, Any],
    *,
    model: bool,
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """Export, register and report a run after its last step; return the summary.

    If the tracking server is away, only the upload is lost, not the run.

    Args:
        result: what the loop returned.
        model: export and register the encoder, and mark the run as finished; False for a run that
            was stopped, which only gets its page.
    """
    checkpoints = Checkpoints(folder, None)
    newest = checkpoints.latest()
    summary = {
        "name": folder.name,
        "run_id": run_id,
        **{key: value for key, value in result.items() if key not in ("stopped", "total_steps")},
        "metrics": {k: v for k, v in result["metrics"].items() if math.isfinite(v)},
        "checkpoint": checkpoints.path(newest) if newest is not None else None,
        "model_uri": None,
        "report": f"{folder.url}/report.html",
    }
    if experiment.data.modality != "image":
        summary["modality"] = experiment.data.modality
    facts: dict[str, Any] = {"steps": result["steps"]}
    if model and newest is not None:
        notify("exporting the encoder")
        encoder = exported_encoder(folder, experiment, manifest, newest)
        facts["parameters"] = sum(p.numel() for p in encoder.parameters())
        # Before the model is registered, because its card reads these facts.
        folder.update_json(facts, "run.json")
        try:
            summary["model_uri"] = _register(folder, experiment, tracker, run_id, encoder, result)
        except TrackingError as error:
            notify(f"the model was not registered: {error}")
    if model:
        facts["status"] = "finished"
    # Before the pages are drawn, because they show the status and the model.
    folder.update_json(facts | {"model_uri": summary["model_uri"]}, "run.json")
    notify("writing the report")
    with pages(folder) as drawn:
        try:
            _upload(folder, drawn, tracker, run_id)
            if model:
                tracker.finish(run_id, "FINISHED")
        except TrackingError as error:
            notify(
                "the tracking server does not have everything; all of it is in "
                f"{folder.url}: {error}"
            )
    if model:
        # Last of all: a folder with a summary belongs to a finished run, and a resume only returns
        # the summary.
        folder.write_json(summary, "summary.json")
    return summary


@contextmanager
def pages(folder: RunFolder) -> Iterator[Path]:
    """Draw report.html and plots/ of any run, finished or not, and write them into its folder.

    Yields:
        a local folder with the page, the plots and the small files they were drawn from; it is
        deleted when the block ends.
    """
    # On a local copy, because the folder may be on an object store.
    with tempfile.TemporaryDirectory(prefix="manta-pages-") as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for piece in PIECES:
            try:
                data = folder.read(piece)
            except FileNotFoundError:  # a run may end before it writes one; the page says so
                continue
            (copy / piece).parent.mkdir(exist_ok=True)
            (copy / piece).write_bytes(data)
        if (copy / "run.json").exists():
            RunFolder(copy).update_json({"status": status(folder)}, "run.json")
        for path in (*write_plots(copy), write_report(copy, url=folder.url)):
            folder.write(path.read_bytes(), *path.relative_to(copy).parts)
        yield copy


def _register(
    folder: RunFolder,
    experiment: Experiment,
    tracker: Tracker,
    run_id: str,
    encoder: Encoder,
    result: dict[str, Any],
) -> str | None:
    """Save the encoder's folder; log and register the model.

    Returns:
        the model's URI; None if the run does not register models.
    """
    exported = export(experiment, encoder, stats_of(folder))
    with tempfile.TemporaryDirectory(prefix="manta-encoder-") as scratch:
        saved = save_encoder(exported, Path(scratch) / "encoder", config=experiment.encoder)
        # The description last: readers take a folder that has one for complete.
        for file in sorted(saved.folder.iterdir(), key=lambda path: path.name == DESCRIPTION):
            folder.write(file.read_bytes(), "encoder", file.name)
        if not experiment.tracking.register_model:
            return None
        registered = log_model(
            tracker,
            run_id,
            exported,
            name=experiment.tracking.register_as
            or f"manta-{experiment.objective.name}-{experiment.encoder.name}",
            encoder_folder=saved.folder,
            step=result["steps"],
            tags={name: f"{value:.6g}" for name, value in result["metrics"].items()},
            card=card_of(folder, experiment),
        )
    return registered.uri


def _upload(folder: RunFolder, drawn: Path, tracker: Tracker, run_id: str) -> None:
    """Upload the page, plots and configuration to the MLflow run; tag it with the run's folder.

    Checkpoints are not uploaded; a tag says where they are.
    """
    tracker.set_tags(
        run_id, {"manta.folder": folder.url, "manta.checkpoints": folder.url_of("checkpoints")}
    )
    for name in ("experiment.yaml", "evaluation.json", "report.html"):
        if (drawn / name).exists():
            tracker.log_artifact(run_id, drawn / name)
    if (drawn / "plots").exists():
        tracker.log_artifacts(run_id, drawn / "plots", folder="plots")
