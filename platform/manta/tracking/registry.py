"""Models in the registry, marked by aliases; a run gives its model the alias `candidate`."""

from __future__ import annotations

import copy
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manta.errors import TrackingError
from manta.tracking._client import explain, refusals

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import Model

    from manta.modalities.preprocess import Reader
    from manta.serving import ExportedEncoder
    from manta.tracking.tracker import Tracker

CANDIDATE = "candidate"
ENCODER_FOLDER = "encoder"
"""Folder within a model's files that `manta.serving.save_encoder` wrote."""
CARD = "README.md"
"""Name of the card among a model's files."""
LONGEST_DESCRIPTION = 5000
"""Longest description of a version, in characters, that database stores accept."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """Version of a model in the registry; `uri`, by alias, is for `mlflow.pyfunc.load_model`."""

    name: str
    version: str
    uri: str


def log_model(
    tracker: Tracker,
    run_id: str,
    exported: ExportedEncoder,
    *,
    name: str,
    encoder_folder: str | Path | None = None,
    step: int = 0,
    tags: Mapping[str, str] | None = None,
    card: str | None = None,
) -> RegisteredModel:
    """Log an encoder as an MLflow model, and register it with the alias `candidate`.

    The model is a graph (pt2, which loads without unpickling) with its preprocessing inside. It
    takes uint8 images `[N, H, W, 3]` and gives float32 features `[N, D]`, for every N, H and W.

    Args:
        name: of the registered model; created if needed.
        encoder_folder: written by `manta.serving.save_encoder`; added to the model's files, for
            fine-tuning.
        step: number of optimizer steps that the weights were trained for.
        tags: of the version, such as its metrics.
        card: Markdown; added to the model's files, and the version's description.

    Raises:
        TrackingError: the store refused, or the encoder cannot be traced.
    """
    client = tracker.client
    with tempfile.TemporaryDirectory(prefix="manta-model-") as scratch:
        with refusals("log the model", tracker.uri):
            from mlflow.entities import LoggedModelOutput

            logged = client.create_logged_model(
                tracker.experiment_id,
                name=ENCODER_FOLDER,
                source_run_id=run_id,
                model_type="encoder",
            )
            folder = Path(scratch) / "model"
            _save(exported, folder, logged=logged, run_id=run_id)
            if encoder_folder is not None:
                shutil.copytree(encoder_folder, folder / ENCODER_FOLDER)
            if card is not None:
                (folder / CARD).write_text(card)
            # In this order, so that a model is READY only once all of its files are there.
            client.log_model_artifacts(logged.model_id, str(folder))
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=step)])
        with refusals(f"register the model {name!r}", tracker.uri):
            return _register(tracker, name, logged=logged, run_id=run_id, tags=tags, card=card)


def register_logged(
    tracker: Tracker,
    run_id: str,
    *,
    name: str,
    tags: Mapping[str, str] | None = None,
    card: str | None = None,
) -> RegisteredModel | None:
    """Register the model that a run logged last under `name`, without copying its files.

    Returns:
        the new version; None if the run has logged no model.

    Raises:
        TrackingError: the store refused.
    """
    client = tracker.client
    with refusals(f"register the model {name!r}", tracker.uri):
        outputs = client.get_run(run_id).outputs
        logged = max(
            reversed(outputs.model_outputs if outputs else []),
            key=lambda output: output.step,
            default=None,
        )
        if logged is None:
            return None
        with tempfile.TemporaryDirectory(prefix="manta-card-") as scratch:
            if card is not None:
                (Path(scratch) / CARD).write_text(card)
                client.log_model_artifacts(logged.model_id, scratch)
        model = client.get_logged_model(logged.model_id)
        return _register(tracker, name, logged=model, run_id=run_id, tags=tags, card=card)


def download_model(tracker: Tracker, uri: str, folder: str | Path) -> Path:
    """Copy the files of a model, such as `models:/name@candidate`, to `folder`; return their path.

    The folder of `manta.serving.save_encoder` is `encoder/` among them.

    Raises:
        TrackingError: there is no such model.
    """
    _ = tracker.client
    with refusals(f"download {uri}", tracker.uri):
        from mlflow.artifacts import download_artifacts

        Path(folder).mkdir(parents=True, exist_ok=True)
        location = _location(tracker, uri)
        return Path(download_artifacts(location, dst_path=str(folder), tracking_uri=tracker.uri))


def _location(tracker: Tracker, uri: str) -> str:
    """Return the location of the files of a model.

    Args:
        uri: `models:/name@alias`, `models:/name/version` or `models:/id`.
    """
    # Looked up here, because MLflow itself resolves `models:/` in its global store, even where
    # another store is passed.
    client = tracker.client
    target = uri.removeprefix("models:/").strip("/")
    if "@" in target:
        name, alias = target.rsplit("@", 1)
        target = str(client.get_model_version_by_alias(name, alias).source)
    elif "/" in target:
        name, number = target.rsplit("/", 1)
        target = str(client.get_model_version(name, number).source)
    else:
        target = f"models:/{target}"
    if target.startswith("models:/"):
        target = str(client.get_logged_model(target.removeprefix("models:/")).artifact_location)
    return target


def _save(exported: ExportedEncoder, folder: Path, *, logged: LoggedModel, run_id: str) -> None:
    """Write a model's folder in MLflow's format.

    Its graph is for the CPU, so that it loads on every machine.

    Raises:
        TrackingError: the encoder cannot be exported as a graph.
    """
    import torch

    with warnings.catch_warnings():
        # MLflow warns of its own type hints when pyfunc is imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import mlflow.pytorch
    from mlflow.models import Model, ModelSignature
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.types import Schema, TensorSpec

    # The writer of the archive mistakes channels-last weights for slices of larger tensors.
    module = copy.deepcopy(exported).cpu().to(memory_format=torch.contiguous_format).eval()
    taken = module.preprocess.signature
    # The tensors have no names, since pyfunc would pass a dict to the model if they had.
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(taken.dtype), taken.shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, module.embed_dim))]),
    )
    example = module.preprocess.traced().numpy()
    model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=run_id,
    )
    # MLflow would infer the requirements by loading the model in another process, which takes 15 s.
    # A local version such as "+cu130" is dropped, since package indexes do not have it.
    reader = module.preprocess.reader()
    packages = ("torch", "torchvision", "timm", *(reader.packages if reader else ()))
    requirements = [f"{package}=={version(package).split('+')[0]}" for package in packages]
    try:
        with torch.no_grad():
            mlflow.pytorch.save_model(
                module,
                str(folder),
                mlflow_model=model,
                signature=signature,
                input_example=example,
                pip_requirements=requirements,
                code_paths=[str(reader.code)] if reader else None,
                serialization_format="pt2",
            )
    except (
        Exception
    ) as error:  # torch.export has many kinds, and an encoder that it cannot trace is the user's
        raise TrackingError(
            f"the encoder cannot be exported as a graph: {explain(error)}"
        ) from error
    # Without a device in the model's own configuration, MLflow would choose CUDA on a machine that
    # has it, and then refuse a graph whose weights are on the CPU.
    model.flavors["python_function"]["config"] = {"device": "cpu"}
    if reader is not None:
        _add_reader(model, folder, reader)
    model.save(str(folder / MLMODEL_FILE_NAME))


def _add_reader(model: Model, folder: Path, reader: Reader) -> None:
    """Let a model's pyfunc take what the reader reads, which then calls the graph."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    flavor = model.flavors["python_function"]
    for name, content in reader.files.items():
        (folder / flavor["data"] / name).write_text(content)
    flavor["loader_module"] = reader.code.stem
    signature: ModelSignature = model.signature
    inputs = signature.inputs if reader.taken is None else Schema([ColSpec(reader.taken)])
    named = reader.settings.items()
    settings = [ParamSpec(name, DataType.long, default) for name, default in named]
    params = ParamSchema(settings) if settings else None
    model.signature = ModelSignature(inputs=inputs, outputs=signature.outputs, params=params)
    if reader.taken is None:
        return
    # The example is of what the graph takes; MLflow has no public way to write another one.
    for name in ("input_example.json", "serving_input_example.json"):
        (folder / name).unlink(missing_ok=True)
    model.saved_input_example_info = None


def _register(
    tracker: Tracker,
    name: str,
    *,
    logged: LoggedModel,
    run_id: str,
    tags: Mapping[str, str] | None,
    card: str | None,
) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    client = tracker.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server resolves `models:/ID` by itself. With a database store it would be looked up at
    # MLflow's global URI, which belongs to the user and may name another store.
    source = (
        f"models:/{logged.model_id}" if tracker.uri.startswith("http") else logged.artifact_location
    )
    created = client.create_model_version(
        name,
        source=source,
        run_id=run_id,
        model_id=logged.model_id,
        tags=dict(tags or {}),
        description=None if card is None else card[:LONGEST_DESCRIPTION],
    )
    client.set_registered_model_alias(name, CANDIDATE, created.version)
    return RegisteredModel(name, str(created.version), f"models:/{name}@{CANDIDATE}")
