"""What the samples of a dataset are, where no experiment says it."""

from __future__ import annotations

from typing import Any

from manta.data.manifest import Manifest
from manta.modalities import MODALITIES, Modality


def modality_of(manifest: Manifest) -> Modality[Any]:
    """Return the modality of a dataset with its default settings, to show rows by."""
    kind = MODALITIES[manifest.modality]
    return kind(kind.Config(source=manifest.source), manifest.stats)
