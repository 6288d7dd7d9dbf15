"""ProtoCLR: every image is a one-shot class, and its augmented copies are the queries.

Medina et al. 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.episodes import protoclr
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class ProtoCLRConfig(ObjectiveConfig):
    """Settings of ProtoCLR (prototypical contrastive learning of few-shot episodes)."""

    name: Literal["protoclr"] = "protoclr"
    queries: int = Field(3, ge=1, description="augmented copies of each sample")
    augment_prototypes: bool = Field(
        False, description="augment the prototypes too; the paper does on Omniglot"
    )
    projector: HeadConfig | None = Field(
        None, description="None, as in the paper: distances of the encoder's features"
    )


@OBJECTIVES.register("protoclr")
class ProtoCLR(Objective[ProtoCLRConfig]):
    """Each query finds its prototype among all ranks' samples, by squared Euclidean distance.

    Prototypes are the features of the plain images, which are the first view, and have gradients
    too.
    """

    Config = ProtoCLRConfig
    family = "contrastive"
    paper = Paper(
        "Self-Supervised Prototypical Transfer Learning for Few-Shot Classification",
        2020,
        "arXiv:2006.11325",
        source="S171",
    )
    exchange = Exchange.GATHER
    views = "4 global"

    def __init__(self, config: ProtoCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector: nn.Module = nn.Identity()
        if config.projector is not None:
            # Distances do not depend on a shift, so the last layer has no bias.
            self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        first = 1.0 if self.config.augment_prototypes else 0.0
        strengths = (first, *[1.0] * self.config.queries)
        return ViewNeeds(preset="simclr", global_views=len(strengths), strengths=strengths)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        model = nn.Sequential(self.encoder, self.projector)
        prototypes, *queries = self.fused(model, batch.global_views)
        every_prototype = self.comm.gather(upcast(prototypes))
        offset = self.comm.rank * len(prototypes)
        return {"loss": protoclr(torch.stack(queries, dim=1), every_prototype, offset=offset)}
