"""Data for a saved encoder: samples of what it takes, ingested if they are not yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manta.data import (
    IngestProgress,
    SourceOptions,
    check_source,
    is_ingested,
    open_dataset,
    prepare,
)
from manta.encoders.saved import description_in
from manta.errors import ConfigError
from manta.modalities import MODALITIES, Modality, noun_of


@dataclass(frozen=True, slots=True)
class Taken:
    """What a model takes.

    Attributes:
        modality: of its samples.
        settings: names and values of `data` by which sources made the samples that it was trained
            on, such as the window that recordings were cut into.
    """

    modality: str = "image"
    settings: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def by(cls, folder: str | Path) -> Taken:
        """Return what the saved encoder in a folder takes."""
        description = description_in(folder)
        modality = str(description.get("modality", "image"))
        return cls(modality, tuple(description.get("source", {}).items()))

    def options(self, split: str | None) -> SourceOptions:
        """Return how a source of such samples is read."""
        # Images are what sources of files hold where nothing is said.
        modality = None if self.modality == "image" else self.modality
        return SourceOptions(split, modality=modality, settings=self.settings)

    def samples(self) -> Modality[Any] | None:
        """Return the modality with these settings, and else its own; None stands for images."""
        if self.modality == "image":
            return None
        kind = MODALITIES[self.modality]
        return kind(kind.Config(source="", **dict(self.settings)), {})


IMAGES = Taken()


def check_data(data: str, taken: Taken, *, split: str | None = None) -> None:
    """Check, before anything is started, that a location has samples that a model takes.

    Args:
        split: part of the source that is meant; None: its own choice.

    Raises:
        ConfigError: it is a dataset of others.
        DataError: there is nothing, or nothing that can be read.
    """
    if is_ingested(data):
        _check_samples(data, taken)
    else:
        check_source(data, taken.options(split))


def dataset_of(
    data: str,
    taken: Taken,
    cache: str,
    *,
    split: str | None = None,
    progress: IngestProgress | None = None,
) -> str:
    """Return the location of the dataset of `data`, ingesting it below `cache` if needed.

    Raises:
        ConfigError: `data` has other samples than the model takes.
        DataError: it cannot be read.
    """
    location = prepare(
        data, cache, progress, options=taken.options(split), modality=taken.samples()
    )
    _check_samples(location, taken)
    return location


def _check_samples(location: str, taken: Taken) -> None:
    held, modality = open_dataset(location).modality, taken.modality
    if held != modality:
        raise ConfigError(
            f"{location} holds {noun_of(held).plural} (data.modality={held}), and the model takes "
            f"{noun_of(modality).plural}; give it data of the modality {modality}"
        )
