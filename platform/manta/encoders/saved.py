"""Encoders from folders that `manta.serving.save_encoder` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from manta.encoders._build import build
from manta.encoders._config import EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders.sources import DESCRIPTION, WEIGHTS
from manta.encoders.weights import saved_state, weighted
from manta.errors import RunError
from manta.modalities import MODALITIES

__all__ = [
    "DESCRIPTION",
    "WEIGHTS",
    "LoadedEncoder",
    "load_saved",
    "saved_config",
    "saved_state",
    "weighted",
]


class LoadedEncoder(NamedTuple):
    """An encoder and its preprocessing.

    Attributes:
        encoder: on the CPU.
        preprocess: of images size, mean and standard deviation, as plain data.
        modality: of its samples.
    """

    encoder: Encoder
    preprocess: dict[str, Any]
    modality: str


def load_saved(folder: str | Path) -> LoadedEncoder:
    """Load the encoder of a folder, on the CPU.

    It draws nothing from torch's generator, and unpickles nothing.

    Raises:
        RunError: the folder holds nothing that Manta saved, or the weights do not fit.
    """
    folder = Path(folder)
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
        preprocess: dict[str, Any] = description["preprocess"]
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        config = _config(description)
        modality = description.get("modality", "image")
        spec = MODALITIES[modality].preprocess_from(preprocess).spec
        with torch.random.fork_rng(devices=[]):
            encoder = build(config, spec)
        weighted(encoder).load_state_dict(weights)
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{folder} holds no encoder saved by Manta ({DESCRIPTION}, {WEIGHTS}): {reason}"
        ) from error
    return LoadedEncoder(encoder, preprocess, modality)


def description_in(folder: str | Path) -> dict[str, Any]:
    """Return what is written of the encoder in a folder that `load_saved` reads."""
    description: dict[str, Any] = json.loads((Path(folder) / DESCRIPTION).read_text())
    return description


def saved_config(folder: str | Path) -> EncoderConfig:
    """Return the config of the encoder in a folder that `load_saved` reads."""
    return _config(description_in(folder))


def _config(description: dict[str, Any]) -> EncoderConfig:
    """Return the saved config without pretrained weights.

    The weights are in the folder, so no others are needed; timm would unpickle what
    `checkpoint_path` names.
    """
    config = EncoderConfig.model_validate(description["encoder"] | {"pretrained": False})
    config.args.pop("checkpoint_path", None)
    return config
