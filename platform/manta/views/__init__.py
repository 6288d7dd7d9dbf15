"""Batched augmentations that run on the training device, with one draw per sample."""

from manta.views._config import PRESETS, Preset, ViewsConfig, ViewSpec, specify
from manta.views._pipeline import Views

__all__ = ["PRESETS", "Preset", "ViewSpec", "Views", "ViewsConfig", "specify"]
