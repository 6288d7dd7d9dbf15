"""Barlow Twins: each dimension correlates with itself in the other view and with no other.

Zbontar et al. 2021.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import barlow_twins_terms, cross_correlation
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class BarlowTwinsConfig(ObjectiveConfig):
    """Settings of Barlow Twins."""

    name: Literal["barlow_twins"] = "barlow_twins"
    lambda_: float = Field(
        5e-3, gt=0, description="weight of redundancy reduction against invariance"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=1024, layers=3), description="the paper's is 8192 wide"
    )


@OBJECTIVES.register("barlow_twins")
class BarlowTwins(Objective[BarlowTwinsConfig]):
    """Barlow Twins on the cross-correlation of all ranks' projections."""

    Config = BarlowTwinsConfig
    family = "non-contrastive"
    paper = Paper(
        "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        2021,
        "arXiv:2103.03230, ICML 2021",
        source="S161",
    )
    exchange = Exchange.STATISTICS
    slow_start = True

    def __init__(self, config: BarlowTwinsConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # Correlations do not depend on a shift, so the last layer has no bias.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        terms = barlow_twins_terms(cross_correlation(z_a, z_b, average=self.comm.mean))
        loss = terms.invariance + self.config.lambda_ * terms.redundancy
        return {
            "loss": loss,
            "invariance": terms.invariance.detach(),
            "redundancy": terms.redundancy.detach(),
        }
