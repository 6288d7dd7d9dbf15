"""DCL: SimCLR without the positive in the denominator, so that small batches suffice.

Yeh et al. 2022.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import dcl
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.schedules import value_of


class DCLConfig(ObjectiveConfig):
    """Settings of DCL (decoupled contrastive learning)."""

    name: Literal["dcl"] = "dcl"
    temperature: Temperature = Field(0.1, description="of the cosines")
    sigma: float | None = Field(
        None,
        gt=0,
        description="weigh positives by their distance (DCLW; 0.5 in the paper); None: all alike",
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )


@OBJECTIVES.register("dcl")
class DCL(Objective[DCLConfig]):
    """The decoupled contrastive loss over the projections of two views of all ranks' samples."""

    Config = DCLConfig
    family = "contrastive"
    paper = Paper(
        "Decoupled Contrastive Learning", 2022, "arXiv:2110.06848, ECCV 2022", source="S187"
    )
    exchange = Exchange.GATHER

    def __init__(self, config: DCLConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        keys = self.gathered(z_a, z_b)
        return {"loss": dcl(z_a, z_b, temperature=temperature, sigma=self.config.sigma, **keys)}
