"""Views of sentences: batched changes of token numbers, with presets by what the views are for."""

from manta.modalities.text.views.config import PRESETS, TextViewsConfig, ViewSpec, specify
from manta.modalities.text.views.pipeline import TextViews

__all__ = ["PRESETS", "TextViews", "TextViewsConfig", "ViewSpec", "specify"]
