"""SimSiam: predict the other view's projection, whose gradient is stopped, and nothing more.

Chen & He 2021.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import negative_cosine
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._bootstrap import matching, sees_shift
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._parts import mlp


class SimSiamConfig(ObjectiveConfig):
    """Settings of SimSiam (simple siamese representation learning)."""

    name: Literal["simsiam"] = "simsiam"
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=512, layers=2, norm_out=True),
        description="normalised at its output too, which the paper's table 3 finds a little better "
        "(68.1 against 67.4; 34.6 where no head is normalised); the paper's is 2048 wide, of 3 "
        "layers (2 for CIFAR-10)",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=128, out=512, layers=2),
        description="a bottleneck of a quarter, as in the paper",
    )


@OBJECTIVES.register("simsiam")
class SimSiam(Objective[SimSiamConfig]):
    """The symmetrised negative cosine of predictions and projections (the paper's eq. 4).

    It is -1 when each view predicts the other, and 1 at most. By the paper it is the stopped
    gradient, with a predictor, that prevents a collapse; normalisation helps it learn.
    """

    Config = SimSiamConfig
    family = "non-contrastive"
    paper = Paper(
        "Exploring Simple Siamese Representation Learning", 2021, "arXiv:2011.10566, CVPR 2021"
    )
    slow_start = True

    def __init__(self, config: SimSiamConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector, bias=sees_shift(config.predictor))
        self.predictor = matching(config.predictor, self.projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        p_a, p_b = self.predictor(z_a), self.predictor(z_b)
        loss = (negative_cosine(p_a, z_b.detach()) + negative_cosine(p_b, z_a.detach())) / 2
        return {"loss": loss}
