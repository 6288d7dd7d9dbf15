"""CACR: attract the farthest views of a sample, repel the nearest other samples.

Zheng et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.attraction import cacr_terms
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class CACRConfig(ObjectiveConfig):
    """Settings of CACR (contrastive attraction and contrastive repulsion)."""

    name: Literal["cacr"] = "cacr"
    positives: int = Field(
        2, ge=1, description="of each anchor: one view fewer than are made; 4 in the paper"
    )
    attraction_scale: float = Field(
        1.0, ge=0, description="t+: how much more far positives weigh; 0: all alike"
    )
    repulsion_scale: float = Field(
        2.0, ge=0, description="t-: how much more near negatives weigh; 0.9 on CIFAR-10"
    )
    attraction: float = Field(
        1.0, ge=0, description="weight of the attraction, alpha in the authors' code"
    )
    repulsion: float = Field(
        1.0, ge=0, description="weight of the repulsion, beta in the authors' code"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )


@OBJECTIVES.register("cacr")
class CACR(Objective[CACRConfig]):
    """Doubly weighted squared distances of all ranks' projections, without a logarithm.

    As in the authors' code each view is an anchor, and each pair of views has a softmax of its own
    over the negatives.

    Ours: both directions of a pair of views; the authors' debiased and radial-basis variants are
    left out.
    """

    Config = CACRConfig
    family = "contrastive"
    paper = Paper(
        "Contrastive Attraction and Contrastive Repulsion for Representation Learning",
        2023,
        "arXiv:2105.03746, TMLR 2023",
        source="S188",
    )
    exchange = Exchange.GATHER
    views = "3 global"

    def __init__(self, config: CACRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=self.config.positives + 1)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        model = nn.Sequential(self.encoder, self.projector)
        z = torch.stack(self.fused(model, batch.global_views), dim=1)
        terms = cacr_terms(
            z,
            attraction=self.config.attraction_scale,
            repulsion=self.config.repulsion_scale,
            keys=self.comm.gather(upcast(z)),
            offset=self.comm.rank * len(z),
        )
        loss = self.config.attraction * terms.attraction + self.config.repulsion * terms.repulsion
        return {"loss": loss} | {name: term.detach() for name, term in terms._asdict().items()}
