"""Restoration of an encoder or objective from a checkpoint of a run."""

from __future__ import annotations

from typing import Any

from manta.config import Experiment
from manta.data import Manifest
from manta.encoders import Encoder
from manta.errors import RunError
from manta.modalities import Stats
from manta.objectives import Objective
from manta.runs.build import build_objective
from manta.runs.checkpoint import CheckpointManifest, Checkpoints
from manta.runs.folder import RunFolder
from manta.runs.materials import local_paths
from manta.serving import ExportedEncoder


def exported_encoder(
    folder: RunFolder, experiment: Experiment, manifest: Manifest, checkpoint: CheckpointManifest
) -> Encoder:
    """Return the encoder in a checkpoint of a run, on the CPU, in evaluation mode.

    Raises:
        RunError: the checkpoint does not fit the configuration.
    """
    return restored(folder, experiment, manifest, checkpoint).exported.eval()


def restored(
    folder: RunFolder, experiment: Experiment, manifest: Manifest, checkpoint: CheckpointManifest
) -> Objective[Any]:
    """Return the objective in a checkpoint of a run, on the CPU.

    Raises:
        RunError: the checkpoint does not fit the configuration.
    """
    # All weights follow from the checkpoint: those that the run started from may be gone.
    encoder = experiment.encoder.model_copy(update={"pretrained": False, "start": None})
    plain = experiment.model_copy(update={"encoder": encoder})
    objective = build_objective(plain, manifest, local_paths(plain, folder))
    state = Checkpoints(folder, None).load(checkpoint)
    try:
        objective.load_state_dict(state.weights | state.state["extra"])
    except RuntimeError as error:
        raise RunError(
            f"checkpoint at step {checkpoint.step} does not fit this experiment: {error}"
        ) from error
    return objective


def export(experiment: Experiment, encoder: Encoder, stats: Stats | None = None) -> ExportedEncoder:
    """Return the encoder together with the preprocessing that its evaluation used.

    Args:
        stats: of the dataset.
    """
    preprocess = experiment.modality(stats).preprocess(experiment.views)
    given = {name: getattr(experiment.data, name) for name in experiment.data.of_samples}
    source = {name: value for name, value in given.items() if value is not None}
    return ExportedEncoder(encoder, preprocess, source=source)
