"""Registration of a run's encoder as a version of a registered model (`manta register`)."""

from __future__ import annotations

from manta.errors import RunError
from manta.models.card import card_of, evaluation_of
from manta.models.find import model_folder
from manta.runs.lease import status
from manta.runs.store import Notify, default_store, find_run, load_experiment
from manta.serving import load_exported
from manta.tracking import RegisteredModel, Tracker, log_model, register_logged


def register_run(
    run: str, name: str, *, runs: str = "manta-runs", notify: Notify = lambda _message: None
) -> RegisteredModel:
    """Register the encoder of a finished run as `name`, with its card and the alias `candidate`.

    If the run has logged its model already, that is registered without logging it again.

    Raises:
        RunError: there is no such run, or it has not finished.
        TrackingError: the store refused.
    """
    folder = find_run(runs, run)
    if (state := status(folder)) != "finished":
        raise RunError(
            f"run {folder.name!r} is {state}; let it end, or go on with it by "
            "`manta train ... --resume`"
        )
    run_record = folder.read_json("run.json")
    experiment = load_experiment(folder)
    tracker = Tracker(experiment=experiment.tracking.experiment, runs_dir=default_store(runs))
    metrics = evaluation_of(folder).get("metrics", {})
    tags = {name: f"{value:.6g}" for name, value in metrics.items()}
    card = card_of(folder, experiment)
    notify(f"registering {folder.name} as {name}")
    registered = register_logged(tracker, run_record["run_id"], name=name, tags=tags, card=card)
    if registered is not None:
        return registered
    with model_folder(folder.url, tracker, runs) as saved:
        return log_model(
            tracker,
            run_record["run_id"],
            load_exported(saved),
            name=name,
            encoder_folder=saved,
            step=run_record.get("steps", 0),
            tags=tags,
            card=card,
        )
