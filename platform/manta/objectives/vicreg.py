"""VICReg: views agree, every dimension varies, no two covary (Bardes et al. 2022)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import vicreg_terms
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class VICRegConfig(ObjectiveConfig):
    """Settings of VICReg (variance-invariance-covariance regularisation)."""

    name: Literal["vicreg"] = "vicreg"
    invariance: float = Field(25.0, ge=0, description="weight of the distance of the views")
    variance: float = Field(
        25.0, ge=0, description="weight of the hinge on each dimension's standard deviation"
    )
    covariance: float = Field(1.0, ge=0, description="weight of the squared covariances")
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=1024, layers=3), description="the paper's is 8192 wide"
    )


@OBJECTIVES.register("vicreg")
class VICReg(Objective[VICRegConfig]):
    """The three terms over the projections (the paper's expansions) of all ranks' samples."""

    Config = VICRegConfig
    family = "non-contrastive"
    paper = Paper(
        "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        2022,
        "arXiv:2105.04906, ICLR 2022",
    )
    exchange = Exchange.STATISTICS
    slow_start = True

    def __init__(self, config: VICRegConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # No term depends on a shift, so the last layer has no bias.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        terms = vicreg_terms(z_a, z_b, average=self.comm.mean, ranks=self.comm.world)
        loss = (
            self.config.invariance * terms.invariance
            + self.config.variance * terms.variance
            + self.config.covariance * terms.covariance
        )
        return {"loss": loss} | {name: term.detach() for name, term in terms._asdict().items()}
