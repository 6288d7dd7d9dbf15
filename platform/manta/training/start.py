"""The model that a run starts from: its architecture, what fits of it, and the run's ancestry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manta import encoders
from manta.config import Experiment
from manta.encoders import RunEncoderConfig
from manta.encoders.saved import saved_config
from manta.errors import ConfigError, MantaError
from manta.modalities import Stats
from manta.models.find import exact_model, model_folder, run_folder
from manta.runs.folder import RunFolder
from manta.runs.materials import START, is_complete, model_here, required
from manta.runs.store import default_store
from manta.tracking import Tracker, run_of_version

RECORD = "start.json"
"""File of a run's folder: the model, and each tensor that did not fit."""
NAME = "manta.start"
"""Tag of a run in MLflow that says what it starts from, as written; others begin with it."""
Record = dict[str, Any]
"""What is known of a start: model (as written), resolved (a word that does not change its
meaning), run_id (of the run that made it, if known), architecture (settings of its encoder),
encoder (those of the run's), said (a line), fitted (a number of tensors), resampled (their names),
unfitted (reasons by name)."""


FIT = ("encoder", "said", "fitted", "resampled", "unfitted")
"""Entries of a record that an encoder and the model have together."""


@dataclass(frozen=True, slots=True)
class OpenedStart:
    """The model that an experiment starts from, looked up once.

    Attributes:
        experiment: its encoder is that of the model where the recipe names none.
        record: what is known of the model; None without a start.
        at_hand: the model's folder, by the word for it.
    """

    experiment: Experiment
    record: Record | None = None
    at_hand: Mapping[str, Path] = field(default_factory=dict)

    def tried(self, stats: Stats | None = None) -> OpenedStart:
        """Try the weights in a new encoder, unless that is done; return this with what fits.

        Call it while the model is open.

        Args:
            stats: of the dataset, from which some modalities know what an encoder takes.

        Raises:
            ConfigError: nothing fits.
        """
        if self.record is None or "said" in self.record:
            return self
        start = self.record["model"]
        fit = _tried(self.experiment, self.at_hand[start], start, stats)
        return replace(self, record=self.record | fit)

    def said(self, *, resumed: bool) -> list[str]:
        """Return the line on what of the model fits; none without a start, or for a resume."""
        return [] if self.record is None or resumed else [self.record["said"]]

    def write(self, folder: RunFolder) -> None:
        """Write the record into a run's folder, before the copy of the model."""
        if self.record is not None:
            folder.write_json(self.record, RECORD)


@contextmanager
def opened_start(
    experiment: Experiment,
    runs: str,
    resumed: RunFolder | None = None,
    stats: Stats | None = None,
) -> Iterator[OpenedStart]:
    """Open the model that an experiment starts from, and try its weights in the run's encoder.

    An alias may move and a run go on while data are ingested: what is copied and recorded is what
    is open here.

    Args:
        resumed: folder of the run or study to resume; if it has a copy, the model may be gone.
        stats: of the dataset, where it is ingested.

    Yields:
        the model, tried if it is known by now what the encoder takes.

    Raises:
        MantaError: there is no such model, or nothing of it fits.
    """
    start = experiment.encoder.start
    if start is None:
        yield OpenedStart(experiment)
        return
    before = _recorded(resumed, start)
    if before is not None and resumed is not None:
        experiment = _with_architecture(experiment, before["architecture"])
        if is_complete(required(experiment)[START], resumed, START):
            opened = OpenedStart(experiment, before, {start: model_here(resumed, START)})
            if before["encoder"] != _settings(experiment):  # of a trial that drew another
                opened = replace(opened, record=_untried(before)).tried(stats)
            yield opened
            return
    tracker = Tracker(experiment=experiment.tracking.experiment, runs_dir=default_store(runs))
    with ExitStack() as stack:
        with _naming_start():
            exact = exact_model(start, tracker, runs) if before is None else before["resolved"]
            folder = stack.enter_context(model_folder(exact, tracker, runs))
            run_id = _run_id(exact, tracker, runs)
        found = saved_config(folder).model_dump(mode="json")
        experiment = _with_architecture(experiment, found)
        record = {
            "model": start,
            "resolved": exact,
            "run_id": run_id,
            "architecture": found,
        }
        _check_modality(experiment, folder, start)
        opened = OpenedStart(experiment, record, {start: folder})
        # Else it is not known before the ingest what the encoder takes.
        yield opened.tried(stats) if experiment.modality(stats).is_complete else opened


def opened_for_trial(
    experiment: Experiment,
    runs: str,
    study: RunFolder,
    trial: RunFolder,
    stats: Stats,
) -> AbstractContextManager[OpenedStart]:
    """Open the model that a trial starts from: the study's copy, or another that the trial drew."""
    start = experiment.encoder.start
    has_copy = start is not None and _recorded(study, start) is not None
    return opened_start(experiment, runs, study if has_copy else trial, stats)


def tags(record: Record | None) -> dict[str, str]:
    """Return a run's tags in MLflow that say what it starts from; none without a start."""
    if record is None:
        return {}
    of_run = {f"{NAME}.run_id": record["run_id"]} if record.get("run_id") else {}
    return {NAME: record["model"], f"{NAME}.resolved": record["resolved"], **of_run}


def _recorded(folder: RunFolder | None, start: str) -> Record | None:
    if folder is None or not folder.exists(RECORD):
        return None
    record = dict(folder.read_json(RECORD))
    return record if record["model"] == start else None


def _with_architecture(experiment: Experiment, found: Mapping[str, Any]) -> Experiment:
    """Return the experiment with the start's encoder, unless its recipe names one."""
    config = experiment.encoder
    if "name" in config.model_fields_set:
        return experiment
    # What the recipe says of the encoder holds, such as another stem.
    said = {name: getattr(config, name) for name in config.model_fields_set}
    encoder = RunEncoderConfig.model_validate({**found, "pretrained": False, **said})
    return experiment.model_copy(update={"encoder": encoder})


def _check_modality(experiment: Experiment, folder: Path, start: str) -> None:
    modality = encoders.load_saved(folder).modality
    if modality != experiment.data.modality:
        raise ConfigError(
            f"encoder.start: {start} is a model of {modality} and the data are "
            f"{experiment.data.modality}; start from a model of the same modality"
        )


def _tried(experiment: Experiment, folder: Path, start: str, stats: Stats | None) -> Record:
    """Load the weights into a new encoder; return what of them fits, for the record."""
    plain = experiment.encoder.model_copy(update={"start": None})
    encoder = encoders.build(plain, experiment.modality(stats).spec)
    fit = encoders.load_fitting(encoder, folder, start=start)
    line = fit.sentence(start)
    if (name := saved_config(folder).name) != plain.name:
        line += f" (it is a {name}, this encoder a {plain.name})"
    return {
        "encoder": _settings(experiment),
        "said": line,
        "fitted": len(fit.fitted),
        "resampled": list(fit.resampled),
        "unfitted": dict(fit.unfitted),
    }


def _untried(record: Record) -> Record:
    return {name: value for name, value in record.items() if name not in FIT}


@contextmanager
def _naming_start() -> Iterator[None]:
    """Run the block; an error of it names the key that the user wrote, and no other."""
    try:
        yield
    except MantaError as error:
        message = str(error)
        for key in ("pretrained", "name"):
            message = message.removeprefix(f"encoder.{key}: ")
        error.args = (f"encoder.start: {message}", *error.args[1:])
        raise


def _settings(experiment: Experiment) -> Record:
    return experiment.encoder.model_dump(mode="json", exclude={"start"})


def _run_id(exact: str, tracker: Tracker, runs: str) -> str | None:
    """Return the id in MLflow of the run that made a model; None if that is not known."""
    if (run := run_folder(exact, runs)) is not None:
        run_id: str | None = run.read_json("run.json").get("run_id")
        return run_id
    return run_of_version(tracker, exact)
