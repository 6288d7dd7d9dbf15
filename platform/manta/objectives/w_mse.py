"""W-MSE: views agree in a space in which the batch is white, so that they cannot collapse.

Ermolov et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.whitening import w_mse
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class WMSEConfig(ObjectiveConfig):
    """Settings of W-MSE (whitening mean squared error)."""

    name: Literal["w_mse"] = "w_mse"
    sub_batch: int = Field(
        128,
        ge=2,
        description="samples whitened together; twice the projector's `out`, as in the paper",
    )
    partitions: int = Field(
        1, ge=1, description="random partitions into sub-batches whose losses are averaged"
    )
    shrinkage: float = Field(
        1e-3,
        ge=0,
        le=1,
        description="of each covariance towards the identity times its mean variance; 0 in the "
        "paper, for sub-batches above the projector's `out` only",
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=64, layers=2),
        description="the paper's is 1024 wide, of 64 or 128 outputs",
    )


@OBJECTIVES.register("w_mse")
class WMSE(Objective[WMSEConfig]):
    """The distance of two views' whitened projections, in sub-batches drawn anew at each step.

    Sub-batches are of the global batch. Embeddings of any scale are whitened alike, so that to
    shrink them all gains nothing. With no shrinkage neither does giving up a dimension; with it,
    one that falls far below that share of the mean variance no longer counts. A batch that
    sub_batch does not divide gives sub-batches that are a little larger.
    """

    Config = WMSEConfig
    family = "non-contrastive"
    paper = Paper(
        "Whitening for Self-Supervised Representation Learning", 2021, "arXiv:2007.06346, ICML 2021"
    )
    exchange = Exchange.GATHER

    def __init__(self, config: WMSEConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # Whitening removes a shift, so the last layer has no bias.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        z_a, z_b = self.comm.gather(upcast(torch.stack([z_a, z_b], dim=1))).unbind(1)
        drawn = keyed_uniform(self.comm.gather(batch.index), progress, self.config.partitions)
        count = max(len(z_a) // self.config.sub_batch, 1)
        losses = [
            w_mse(z_a, z_b, order.tensor_split(count), shrinkage=self.config.shrinkage)
            for order in drawn.argsort(0).unbind(1)
        ]
        return {"loss": torch.stack(losses).mean()}
