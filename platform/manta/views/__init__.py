"""Batched augmentations that run on the training device, with one draw per sample."""

from manta.views._base import ViewPipeline
from manta.views._pipeline import Views
from manta.views.config import PRESETS, Preset, ViewsConfig, ViewSpec, specify

__all__ = ["PRESETS", "Preset", "ViewPipeline", "ViewSpec", "Views", "ViewsConfig", "specify"]
