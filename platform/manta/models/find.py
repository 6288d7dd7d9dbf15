"""Lookup of a model by any name that a user has for it, as the folder of a saved encoder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manta.data import open_dataset
from manta.encoders import EncoderConfig, build, names
from manta.encoders.saved import DESCRIPTION
from manta.encoders.sources import FOLDER, folder_of
from manta.errors import ConfigError, RunError
from manta.files import Place
from manta.modalities.image.preprocess import ImagePreprocess
from manta.models.restore import export, exported_encoder
from manta.runs.checkpoint import CheckpointManifest, Checkpoints, folder_name
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.runs.store import find_run, is_run, load_experiment, places_of, stats_of
from manta.serving import ExportedEncoder, save_encoder
from manta.spec import Spec
from manta.tracking import Tracker, download_model, exact_version
from manta.words import choice

TIMM = "timm:"
OTHERS = ("models:/", TIMM, FOLDER)
"""How words begin that are neither names of runs nor paths."""
CHECKPOINT = re.compile(r"(?P<run>.+)/checkpoints/step-(?P<step>\d+)/?")


@contextmanager
def model_folder(model: str, tracker: Tracker, runs: str) -> Iterator[Path]:
    """Yield the folder of the saved encoder that `model` names.

    Unless it is the user's own, the folder is deleted when the block ends.

    Args:
        model: `models:/name@alias` or `models:/name/version`; a folder that
            `manta.serving.save_encoder` wrote; a run, by name or folder, which stands for its
            exported encoder or, until it has finished, its newest checkpoint; one checkpoint of a
            run, by its folder; `timm:NAME`, with timm's pretrained weights; or `local-dir:FOLDER`,
            a folder of timm's with its weights.

    Raises:
        MantaError: there is no such model.
    """
    if (own := _saved(model, runs)) is not None:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="manta-model-") as scratch:
        folder = Path(scratch)
        if model.startswith("models:/"):
            yield download_model(tracker, model, folder) / "encoder"
        elif model.startswith(TIMM):
            yield _from_timm(model.removeprefix(TIMM), folder)
        elif model.startswith(FOLDER):
            yield _from_timm(model, folder)
        else:
            yield _from_run(model, runs, folder)


def choice_of_model(model: str, runs: str) -> str | None:
    """Return a line on which is meant where a run and a folder here have a name; else None."""
    if model.startswith(OTHERS):
        return None
    return choice(model, places_of(runs, model), "run", _is_model)


def _is_model(place: str) -> bool:
    return (Place.of(place) / DESCRIPTION).exists() or is_run(place)


def _saved(model: str, runs: str) -> Path | None:
    """Return the folder of a saved encoder, if that is what the word means."""
    if model.startswith(FOLDER):  # of timm's own, or one that says its preprocessing too
        own = folder_of(model)
        return own if own is not None and (own / DESCRIPTION).is_file() else None
    if model.startswith(OTHERS):
        return None
    likely = next((place for place in places_of(runs, model) if _is_model(place)), model)
    place = Place.of(likely)
    is_saved = place.is_local and (place / DESCRIPTION).exists()
    return Path(place.url) if is_saved else None


def _from_run(model: str, runs: str, folder: Path) -> Path:
    run = _run_named(model, runs)
    if _is_export(model, run):
        for file in run.list("encoder"):
            (folder / file).write_bytes(run.read("encoder", file))
        return folder
    experiment, checkpoint = load_experiment(run), checkpoint_of(model, run)
    encoder = exported_encoder(
        run, experiment, open_dataset(run.read_json("run.json")["dataset"]), checkpoint
    )
    exported = export(experiment, encoder, stats_of(run))
    return save_encoder(exported, folder, config=experiment.encoder).folder


def _is_export(model: str, run: RunFolder) -> bool:
    """Return whether a model that names a run stands for the encoder that it exported."""
    is_whole = model == _run_part(model) and status(run) == "finished"
    return is_whole and run.exists("encoder", DESCRIPTION)


def _from_timm(name: str, folder: Path) -> Path:
    """Save a timm model with the image size and normalisation of its pretrained weights.

    Raises:
        RunError: the weights could not be loaded.
    """
    import timm

    config = EncoderConfig(name=name, pretrained=True)
    # By the name without `timm/`, and with the tag: the weights of each have a size of their own.
    is_listed = config.name.partition(".")[0] in set(names())
    stated = timm.models.get_pretrained_cfg(config.name) if is_listed else None
    size = 224 if stated is None else int(stated.input_size[1])
    mean, std = ((0.5,) * 3, (0.5,) * 3) if stated is None else (stated.mean, stated.std)
    try:
        encoder = build(config, Spec.image(size))
    except (OSError, RuntimeError, ConfigError) as error:
        if isinstance(error, ConfigError) and "cannot be had" not in str(error):
            raise
        # What follows speaks of settings that a model's name has not.
        reason = " ".join(str(error).partition("; ")[0].split())[:200]
        raise RunError(
            f"could not load timm's weights of {name!r} ({reason}); is the model hub reachable?"
        ) from None
    exported = ExportedEncoder(encoder, ImagePreprocess(size, mean, std))
    return save_encoder(
        exported, folder, config=config.model_copy(update={"pretrained": False})
    ).folder


def run_folder(model: str, runs: str) -> RunFolder | None:
    """Return the run that `model` names, by itself or by a checkpoint; None for other models.

    Raises:
        RunError: there is no such run.
    """
    if model.startswith(OTHERS) or _saved(model, runs) is not None:
        return None
    return _run_named(model, runs)


def exact_model(model: str, tracker: Tracker, runs: str) -> str:
    """Return a word for what `model` stands for now, which does not change its meaning.

    Returns:
        a registered version, a finished run's folder, a checkpoint's folder, or `model` itself.

    Raises:
        MantaError: there is no such model.
    """
    if not model.startswith(FOLDER) and (own := _saved(model, runs)) is not None:
        return str(own.absolute())
    if (run := run_folder(model, runs)) is None:
        return exact_version(tracker, model)
    if _is_export(model, run):
        return run.url
    return f"{run.url}/checkpoints/{folder_name(checkpoint_of(model, run).step)}"


def _run_named(model: str, runs: str) -> RunFolder:
    try:
        return find_run(runs, _run_part(model))
    except RunError as error:
        hint = f"; timm's model of that name is {TIMM}{model}" if model in set(names()) else ""
        raise RunError(f"{error}{hint}") from None


def checkpoint_of(model: str, run: RunFolder) -> CheckpointManifest:
    """Return the checkpoint that `model` names, or the run's newest one.

    Raises:
        RunError: there is no such checkpoint.
    """
    checkpoints = Checkpoints(run, None)
    if (named := CHECKPOINT.fullmatch(model)) is None:
        if (newest := checkpoints.latest()) is None:
            raise RunError(
                f"run {run.name!r} has no checkpoint yet; go on with it by "
                "`manta train ... --resume`"
            )
        return newest
    steps = {manifest.step: manifest for manifest in checkpoints.committed()}
    if int(named["step"]) not in steps:
        have = ", ".join(map(str, steps)) or "none"
        raise RunError(
            f"run {run.name!r} has no checkpoint of step {int(named['step'])}; it has {have}"
        )
    return steps[int(named["step"])]


def _run_part(model: str) -> str:
    named = CHECKPOINT.fullmatch(model)
    return model if named is None else named["run"]
