"""Views of series: batched augmentations, with presets by what the views are for."""

from manta.modalities.series.views.config import PRESETS, SeriesViewsConfig, ViewSpec, specify
from manta.modalities.series.views.pipeline import SeriesViews

__all__ = ["PRESETS", "SeriesViews", "SeriesViewsConfig", "ViewSpec", "specify"]
