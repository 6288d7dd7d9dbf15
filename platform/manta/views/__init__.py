"""View pipelines: batched augmentations on the training device, with one draw per sample.

Those of a modality's own are in its folder, `manta/modalities/<name>/views`.
"""

from manta.views._base import VIEWS, Samples, ViewPipeline
from manta.views.config import Intent, ViewsConfig
from manta.views.draws import draw_masks, generator

__all__ = ["VIEWS", "Intent", "Samples", "ViewPipeline", "ViewsConfig", "draw_masks", "generator"]
