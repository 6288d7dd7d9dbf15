"""The model that a run starts from: its architecture, what fits of it, and the run's ancestry."""

from __future__ import annotations

from typing import Any

from manta import encoders
from manta.config import Experiment
from manta.encoders import EncoderConfig, RunEncoderConfig
from manta.encoders.saved import saved_config
from manta.errors import ConfigError, RunError
from manta.models.find import model_folder, run_folder
from manta.runs.folder import RunFolder
from manta.runs.store import load_experiment
from manta.tracking import Tracker, exact_version

RECORD = "start.json"
"""File of a run's folder: the model, and each tensor that did not fit."""
NAME = "manta.start"
"""Tag of a run in MLflow that says what it starts from, as written; others begin with it."""


def with_architecture(
    experiment: Experiment, tracker: Tracker, runs: str, resumed: RunFolder | None = None
) -> Experiment:
    """Return the experiment, its encoder that of the start where the recipe names none.

    Args:
        resumed: folder of the run to resume, which kept the architecture.

    Raises:
        MantaError: there is no such model.
    """
    config = experiment.encoder
    if config.start is None or "name" in config.model_fields_set:
        return experiment
    if resumed is not None:
        found: EncoderConfig = load_experiment(resumed).encoder
    else:
        with model_folder(config.start, tracker, runs) as folder:
            found = saved_config(folder)
    # What the recipe says of the encoder holds, such as another stem.
    said = {name: getattr(config, name) for name in config.model_fields_set}
    plain = found.model_dump() | {"pretrained": False, **said}
    return experiment.model_copy(update={"encoder": RunEncoderConfig.model_validate(plain)})


def start_of(experiment: Experiment, tracker: Tracker, runs: str) -> dict[str, Any] | None:
    """Try the start's weights in a new encoder; return what is known of it, None without a start.

    Returns:
        model (as written), resolved (a version, or run and step), run_id (of a run), said (a line),
        fitted (a number), resampled (names), unfitted (reasons by name).

    Raises:
        MantaError: there is no such model, or nothing of it fits.
    """
    start = experiment.encoder.start
    if start is None:
        return None
    origin = _origin(start, tracker, runs)
    encoder = encoders.build(
        experiment.encoder.model_copy(update={"start": None}), experiment.modality().spec
    )
    with model_folder(start, tracker, runs) as folder:
        _check_modality(experiment, encoders.load_saved(folder).modality, start)
        fit = encoders.load_fitting(encoder, folder, start=start)
        said = fit.sentence(start)
        if (name := saved_config(folder).name) != experiment.encoder.name:
            said += f" (it is a {name}, this encoder a {experiment.encoder.name})"
    return {
        "model": start,
        **origin,
        "said": said,
        "fitted": len(fit.fitted),
        "resampled": list(fit.resampled),
        "unfitted": dict(fit.unfitted),
    }


def tags(start: dict[str, Any] | None) -> dict[str, str]:
    """Return a run's tags in MLflow that say what it starts from; none without a start."""
    if start is None:
        return {}
    found = {NAME: start["model"], f"{NAME}.resolved": start["resolved"]}
    return found | ({f"{NAME}.run_id": start["run_id"]} if start.get("run_id") else {})


def _check_modality(experiment: Experiment, modality: str, start: str) -> None:
    if modality != experiment.data.modality:
        raise ConfigError(
            f"encoder.start: {start} is a model of {modality} and the data are "
            f"{experiment.data.modality}; start from a model of the same modality"
        )


def _origin(start: str, tracker: Tracker, runs: str) -> dict[str, Any]:
    """Return what does not move: a registered version, or a run by its id."""
    try:
        run = run_folder(start, runs)
    except RunError:
        run = None
    if run is None:
        return {"resolved": exact_version(tracker, start)}
    facts = run.read_json("run.json")
    return {"resolved": run.url, "run_id": facts.get("run_id")}
