"""Views of clips: batched augmentations, with presets by what the views are for."""

from manta.modalities.audio.views.config import PRESETS, AudioViewsConfig, ViewSpec, specify
from manta.modalities.audio.views.pipeline import AudioViews

__all__ = ["PRESETS", "AudioViews", "AudioViewsConfig", "ViewSpec", "specify"]
