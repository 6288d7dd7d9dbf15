"""UniSiam: SimSiam's alignment and a uniformity with one logarithm, for few-shot transfer.

Lu et al. 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import negative_cosine
from manta.functional.uniformity import uniformity
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.schedules import value_of


class UniSiamConfig(ObjectiveConfig):
    """Settings of UniSiam (uniform siamese networks)."""

    name: Literal["unisiam"] = "unisiam"
    temperature: Temperature = Field(2.0, description="of the cosines in the uniformity term")
    lambda_: float = Field(0.1, ge=0, description="weight of uniformity against alignment")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=512, layers=3, norm_out=True),
        description="head between the encoder and the loss",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=128, layers=2), description="a bottleneck; its out is the projector's"
    )


@OBJECTIVES.register("unisiam")
class UniSiam(Objective[UniSiamConfig]):
    """Negative cosine of predictions and stopped projections, plus uniformity over all ranks.

    The uniformity term of the projections has gradients on both sides of each pair. The authors'
    distillation from a larger network is an objective of its own here.
    """

    Config = UniSiamConfig
    family = "contrastive"
    paper = Paper(
        "Self-Supervision Can Be a Good Few-Shot Learner",
        2022,
        "arXiv:2207.09176, ECCV 2022",
        source="S280",
    )
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: UniSiamConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.predictor = mlp(self.projector.out, config.predictor, out=self.projector.out)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        p_a, p_b = self.predictor(torch.cat([z_a, z_b])).chunk(2)
        alignment = (negative_cosine(p_a, z_b.detach()) + negative_cosine(p_b, z_a.detach())) / 2
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        spread = uniformity(
            z_a, z_b, temperature=temperature, average=self.comm.mean, **self.gathered(z_a, z_b)
        )
        loss = alignment + self.config.lambda_ * spread
        return {"loss": loss, "alignment": alignment.detach(), "uniformity": spread.detach()}
