"""Data for a saved encoder: samples of what it takes, ingested if they are not yet."""

from __future__ import annotations

import json
from pathlib import Path

from manta.data import IngestProgress, SourceOptions, check_source, is_ingested, open_dataset
from manta.data import prepare as prepare_source
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError
from manta.modalities import default_modality, noun_of


def modality_taken(folder: str | Path) -> str:
    """Return the name of the modality whose samples the saved encoder in a folder takes."""
    description = json.loads((Path(folder) / DESCRIPTION).read_text())
    return str(description.get("modality", "image"))


def check_data(data: str, modality: str, *, split: str | None = None) -> None:
    """Check, before anything is started, that a location has samples of a modality.

    Args:
        split: part of the source that is meant; None: its own choice.

    Raises:
        ConfigError: it is a dataset of others.
        DataError: there is nothing, or nothing that can be read.
    """
    if is_ingested(data):
        _check_samples(data, modality)
    else:
        check_source(data, _options(modality, split))


def dataset_of(
    data: str,
    modality: str,
    cache: str,
    *,
    split: str | None = None,
    progress: IngestProgress | None = None,
) -> str:
    """Return the location of the dataset of `data`, ingesting it below `cache` if needed.

    Args:
        modality: of the samples that are wanted; with its own settings where `data` is no dataset.

    Raises:
        ConfigError: `data` has other samples.
        DataError: it cannot be read.
    """
    options, own = _options(modality, split), None if modality == "image" else modality
    location = prepare_source(
        data, cache, progress, options=options, modality=default_modality(own)
    )
    _check_samples(location, modality)
    return location


def _options(modality: str, split: str | None) -> SourceOptions:
    # Images are what sources of files hold where nothing is said.
    return SourceOptions(split, modality=None if modality == "image" else modality)


def _check_samples(location: str, modality: str) -> None:
    held = open_dataset(location).modality
    if held != modality:
        raise ConfigError(
            f"{location} holds {noun_of(held).plural} (data.modality={held}), and the model takes "
            f"{noun_of(modality).plural}; give it data of the modality {modality}"
        )
