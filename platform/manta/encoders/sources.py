"""Names that say where an encoder is described: a folder, or a repository of the hub.

Such a name stands for one of timm's models, its arguments, and weights. A run keeps these instead
of the name, so that it can be opened again where the folder is not.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manta.encoders.catalogue import SMALL_GRID, check_name, nearest_name, takes_patches, timm_names
from manta.errors import ConfigError

WEIGHTS = "model.safetensors"
DESCRIPTION = "manta.json"
TIMM_DESCRIPTION = "config.json"
FOLDER, HUB = "local-dir:", "hf-hub:"
_SITE = "huggingface.co/"
_HUB_FORMS = (HUB, "hf_hub:", f"https://{_SITE}", f"http://{_SITE}", _SITE)
_FOLDER_FORMS = (FOLDER, "local_dir:", "file://")
_OWN_PREFIX = "timm:"
"""As in `manta evaluate timm:resnet18`."""
_ELSEWHERE = ("torchvision", "torch.hub", "torchhub", "tv")
_STORES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Meaning:
    """Meaning of an encoder's name.

    Attributes:
        name: of timm's model, or of a registered encoder.
        stem: None where the name says nothing of it.
        weights: where pretrained weights are; None: timm's own.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    stem: str | None = None
    weights: str | None = None


def is_plain(name: str) -> bool:
    """Return whether a name is a model's own, which stands for itself."""
    return name.isidentifier()


def meaning(name: str) -> Meaning:
    """Return what an encoder's name stands for.

    Args:
        name: `resnet18.a1_in1k`, with or without `timm/`; `hf-hub:OWNER/NAME`; `local-dir:FOLDER`,
            or a path of the folder: timm's, Manta's, or that of a run.

    Raises:
        ConfigError: it stands for nothing that can be built.
    """
    name = name.strip()
    if (place := _after(name, _FOLDER_FORMS)) is not None:
        return _of_folder(place)
    if (repository := _after(name, _HUB_FORMS)) is not None:
        return _of_hub(repository)
    if name.startswith(("models:", "runs:")):
        raise ConfigError(
            f"encoder.name: {name!r} is in MLflow; `manta export {name} --format timm --out "
            "FOLDER`, then encoder.name=local-dir:FOLDER"
        )
    if name.lower().startswith(_STORES):
        raise ConfigError(
            f"encoder.name: {name!r} is no folder of this machine; copy it to one, then "
            "encoder.name=local-dir:FOLDER"
        )
    name = name.removeprefix(_OWN_PREFIX)
    if name.startswith((".", "~", os.sep)):
        return _of_folder(name)
    owner, slash, model = name.partition("/")
    if owner == "timm" and slash:
        return Meaning(model)
    if slash or ":" in name:
        return _of_path(name)
    return Meaning(name)


def folder_of(name: str) -> Path | None:
    """Return the folder that an encoder's name is, as it was written, or None if it is no path."""
    name = name.strip()
    place = _after(name, _FOLDER_FORMS)
    if place is None and name.startswith((".", "~", os.sep)):
        place = name
    return None if place is None else Path(place).expanduser()


def weights_source(value: str) -> str:
    """Return where pretrained weights are, with a whole path, from what a user wrote.

    Raises:
        ValueError: it is neither a folder nor a repository of the hub.
    """
    value = value.strip()
    if (repository := _after(value, _HUB_FORMS)) is not None:
        return HUB + repository
    place = _after(value, _FOLDER_FORMS)
    if place is None and (value.startswith((".", "~", os.sep)) or Path(value).is_dir()):
        place = value
    if place is None:
        raise ValueError(
            f"{value!r} is neither true, false nor local-dir:FOLDER; weights of timm are chosen by "
            "a tag behind the name, as in encoder.name=resnet18.a1_in1k"
        )
    return f"{FOLDER}{_absolute(place)}"


def description_in(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the description of the encoder in a folder: its file, and what that holds.

    Raises:
        ConfigError: there is no such folder, or no description in it that can be read.
    """
    if not folder.is_dir():
        file = " is a file, and the folder with its config.json is needed"
        raise ConfigError(
            f"encoder.name: {folder}{file}" if folder.exists() else f"encoder.name: no {folder}"
        )
    places = [folder, folder / "encoder"]  # the second is a run's
    files = [place / name for place in places for name in (TIMM_DESCRIPTION, DESCRIPTION)]
    file_ = next((file for file in files if file.is_file()), None)
    if file_ is None:
        raise ConfigError(
            f"encoder.name: {folder} holds no encoder: neither config.json, as `manta export "
            f"--format timm` and timm write it, nor {DESCRIPTION}"
        )
    try:
        description = json.loads(file_.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder.name: {file_} cannot be read: {error}") from None
    if not isinstance(description, dict):
        raise ConfigError(f"encoder.name: {file_} describes no encoder")
    return file_, description


def _of_folder(place: str) -> Meaning:
    file, description = description_in(_absolute(place))
    weights = f"{FOLDER}{file.parent}"
    if file.name == TIMM_DESCRIPTION:
        return _of_timm(description, str(file), weights)
    try:
        saved = description["encoder"]
        name, stem, args = str(saved["name"]), saved["stem"], dict(saved["args"])
        size = int(description["preprocess"]["image_size"])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"encoder.name: {file} describes no encoder of Manta") from None
    if stem == "small" and name.partition(".")[0] in timm_names() and takes_patches(name):
        # The patches of the saved weights, at whatever size the images are now.
        args.setdefault("patch_size", max(size // SMALL_GRID, 1))
    args.pop("img_size", None)
    return Meaning(name, args, stem, weights)


def _of_hub(repository: str) -> Meaning:
    repository = repository.strip("/")
    owner, _, model = repository.partition("/")
    if owner == "timm" and model.partition(".")[0] in timm_names():
        # timm's own models are known without their files.
        check_name(model)
        return Meaning(model)
    from manta.encoders.hub import read_config

    place = f"{HUB}{repository}"
    return _of_timm(read_config(repository), place, place)


def _of_timm(description: dict[str, Any], place: str, weights: str) -> Meaning:
    """Return the meaning of timm's `config.json`."""
    name = description.get("architecture")
    if not isinstance(name, str):
        kind = "the transformers library" if "model_type" in description else "something else"
        raise ConfigError(f"encoder.name: {place} describes a model of {kind}, not one of timm")
    check_name(name)
    given = description.get("model_args") or {}
    if not isinstance(given, dict):
        raise ConfigError(
            f"encoder.name: {place} describes no encoder: its model_args are no mapping"
        )
    args = dict(given)
    # The size is that of the images here, and an encoder has no classifier.
    for key in ("img_size", "num_classes", "dynamic_img_size"):
        args.pop(key, None)
    if args.pop("in_chans", 3) != 3:
        args["in_chans"] = 3  # timm adapts the weights of the first convolution
    return Meaning(name, args, "default", weights)


def _of_path(name: str) -> Meaning:
    """Return the meaning of a name with a slash or a colon, and without a form that is known."""
    path = _absolute(name)
    if path.is_dir():
        return _of_folder(name)
    start, _, rest = name.replace(":", "/").partition("/")
    near = nearest_name(rest) if rest else None
    if start.lower() in _ELSEWHERE and near is not None:
        raise ConfigError(f"encoder.name: {name!r} is no model of timm; timm's own is {near!r}")
    if name.count("/") == 1 and ":" not in name:
        raise ConfigError(
            f"encoder.name: there is no folder {name!r}; a model of the Hugging Face hub is "
            f"encoder.name=hf-hub:{name}"
        )
    raise ConfigError(
        f"encoder.name: {name!r} is neither a model nor a folder; write a model of timm, "
        "hf-hub:OWNER/NAME or local-dir:FOLDER"
    )


def _absolute(place: str) -> Path:
    return Path(place).expanduser().absolute()


def _after(name: str, prefixes: tuple[str, ...]) -> str | None:
    """Return what follows the first of the prefixes that the name has, in any case; or None."""
    for prefix in prefixes:
        if name.lower().startswith(prefix):
            return name[len(prefix) :]
    return None
