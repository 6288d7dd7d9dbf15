"""View pipelines: batched augmentations on the training device, with one draw per sample.

Those of a modality's own are in its folder, `manta/modalities/<name>/views`.
"""

from manta.views._base import VIEWS, Samples, ViewPipeline
from manta.views.config import Intent, ViewsConfig
from manta.views.draws import BatchPart, RowNumbers, draw_masks, generator
from manta.views.presets import Preset, specified

__all__ = [
    "VIEWS",
    "BatchPart",
    "Intent",
    "Preset",
    "RowNumbers",
    "Samples",
    "ViewPipeline",
    "ViewsConfig",
    "draw_masks",
    "generator",
    "specified",
]
