"""SimCLR: agree with the other view, disagree with every other sample (Chen et al. 2020)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import nt_xent
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.schedules import value_of


class SimCLRConfig(ObjectiveConfig):
    """Settings of SimCLR."""

    name: Literal["simclr"] = "simclr"
    temperature: Temperature = Field(
        0.5, description="of the cosines; 0.5 is the paper's for CIFAR-10"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )


@OBJECTIVES.register("simclr")
class SimCLR(Objective[SimCLRConfig]):
    """NT-Xent over the projections of two views of all ranks' samples."""

    Config = SimCLRConfig
    family = "contrastive"
    paper = Paper(
        "A Simple Framework for Contrastive Learning of Visual Representations",
        2020,
        "arXiv:2002.05709, ICML 2020",
    )
    exchange = Exchange.GATHER

    def __init__(self, config: SimCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        return {"loss": nt_xent(z_a, z_b, temperature=temperature, **self.gathered(z_a, z_b))}
