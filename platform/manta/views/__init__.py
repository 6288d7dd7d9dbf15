"""View pipelines: batched augmentations on the training device, with one draw per sample.

Those of a modality's own are in its folder, `manta/modalities/<name>/views`.
"""

from manta.views._base import VIEWS, Samples, ViewPipeline
from manta.views.asked import ALL_BUT_FIELDS, Feature, check_asks
from manta.views.config import Intent, ViewsConfig
from manta.views.draws import BatchPart, RowNumbers, draw_masks, generator
from manta.views.placing import (
    Arrangement,
    arranged,
    crop_windows,
    has_distances,
    same_windows,
    with_windows,
)
from manta.views.presets import Preset, specified

__all__ = [
    "ALL_BUT_FIELDS",
    "VIEWS",
    "Arrangement",
    "BatchPart",
    "Feature",
    "Intent",
    "Preset",
    "RowNumbers",
    "Samples",
    "ViewPipeline",
    "ViewsConfig",
    "arranged",
    "check_asks",
    "crop_windows",
    "draw_masks",
    "generator",
    "has_distances",
    "same_windows",
    "specified",
    "with_windows",
]
