"""GroCo: sort the similarities softly, so that every positive ends above every negative.

Shvetsova et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.sorting import groco
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class GroCoConfig(ObjectiveConfig):
    """Settings of GroCo (group ordering constraints)."""

    name: Literal["groco"] = "groco"
    global_views: int = Field(
        2, ge=2, description="each an anchor, with all others as its positives; 4 does better"
    )
    local_views: int = Field(
        0, ge=0, description="small crops: anchors whose positives are the global views"
    )
    hardest: int = Field(
        10, ge=1, description="negatives nearest to the anchor that are sorted with the positives"
    )
    steepness: float = Field(
        1.0, gt=0, description="of the soft swaps, for cosines that differ by 1"
    )
    stop_gradient: bool = Field(
        True, description="let only the anchor learn from a comparison, as in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3), description="the paper's is 2048 wide"
    )


@OBJECTIVES.register("groco")
class GroCo(Objective[GroCoConfig]):
    """The group ordering loss of each view against the same view of all ranks' samples.

    As in the authors' code: negatives come from the anchor's own view, and both groups enter the
    network ascending.
    """

    Config = GroCoConfig
    family = "contrastive"
    paper = Paper(
        "Learning by Sorting: Self-supervised Learning with Group Ordering Constraints",
        2023,
        "arXiv:2301.02009, ICCV 2023",
        source="S193",
    )
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: GroCoConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)

    @property
    def needs(self) -> ViewNeeds:
        config = self.config
        return ViewNeeds(
            preset="multicrop" if config.local_views else "simclr",
            global_views=config.global_views,
            local_views=config.local_views,
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        module = nn.Sequential(self.encoder, self.projector)
        z = self.fused(module, batch.global_views)
        if batch.local_views:
            z += self.fused(module, batch.local_views)
        anchors = upcast(torch.stack(z, dim=1))  # [B, V, D]
        others = anchors.detach() if self.config.stop_gradient else anchors
        keys = self.comm.gather(others)
        losses = [
            groco(
                anchors[:, view],
                others[:, [other for other in range(self.config.global_views) if other != view]],
                hardest=self.config.hardest,
                steepness=self.config.steepness,
                keys=keys[:, view],
                offset=self.comm.rank * len(anchors),
            )
            for view in range(len(z))
        ]
        return {"loss": torch.stack(losses).mean()}
