"""BYOL: predict a momentum teacher's projection of the other view, without negatives.

Grill et al. 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from manta.batch import Batch, Progress
from manta.functional import negative_cosine
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._bootstrap import Bootstrap, BootstrapConfig


class BYOLConfig(BootstrapConfig):
    """Settings of BYOL (bootstrap your own latent)."""

    name: Literal["byol"] = "byol"


@OBJECTIVES.register("byol")
class BYOL(Bootstrap[BYOLConfig]):
    """A student and predictor against a momentum teacher, in both directions."""

    Config = BYOLConfig
    family = "non-contrastive"
    paper = Paper(
        "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        2020,
        "arXiv:2006.07733",
    )
    slow_start = True

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        student = nn.Sequential(self.encoder, self.projector, self.predictor)
        p_a, p_b = self.fused(student, batch.global_views)
        with torch.no_grad():
            z_a, z_b = self.fused(self.teacher, batch.global_views)
        return {"loss": 4 + 2 * negative_cosine(p_a, z_b) + 2 * negative_cosine(p_b, z_a)}
