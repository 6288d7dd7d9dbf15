"""NNCLR: the positive is the nearest neighbour among past samples (Dwibedi et al. 2021)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.info_nce import batch_nce, nearest_support
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._bootstrap import matching, sees_shift
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._momentum import KeyQueue
from manta.objectives._parts import mlp
from manta.schedules import value_of


class NNCLRConfig(ObjectiveConfig):
    """Settings of NNCLR (nearest-neighbour contrastive learning)."""

    name: Literal["nnclr"] = "nnclr"
    temperature: Temperature = Field(0.1, description="of the cosines")
    denominator: Literal["nt_xent", "dcl"] = Field(
        "nt_xent",
        description="nt_xent: with the positive, the paper's; dcl: without, for small batches",
    )
    queue: int = Field(
        4096, ge=1, description="past samples among which neighbours are sought; 98304 in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm_out=True),
        description="head between the encoder and the loss",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head of one side, which predicts the other side's projection",
    )


@OBJECTIVES.register("nnclr")
class NNCLR(Objective[NNCLRConfig]):
    """Neighbours of each view's projections against predictions from the other view.

    Each neighbour is compared with all ranks' predictions (eq. 3) and each prediction with all
    neighbours (eq. 4). The support set takes the first view's projections.

    Ours: until the support set has any row, a projection is its own neighbour; the paper starts
    with random vectors.
    """

    Config = NNCLRConfig
    family = "contrastive"
    paper = Paper(
        "With a Little Help from My Friends: "
        "Nearest-Neighbor Contrastive Learning of Visual Representations",
        2021,
        "arXiv:2104.14548, ICCV 2021",
    )
    exchange = Exchange.GATHER
    keeps = ("queue",)
    slow_start = True

    def __init__(self, config: NNCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector, bias=sees_shift(config.predictor))
        self.predictor = matching(config.predictor, self.projector)
        self.queue = KeyQueue(config.queue, self.projector.out)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        p_a, p_b = self.predictor(torch.cat(z)).chunk(2)
        z_a, z_b = (upcast(projection) for projection in z)
        self.queue.collect(F.normalize(z_a, dim=1))
        valid = torch.arange(len(self.queue), device=batch.index.device) < self.queue.filled
        friends_a, friends_b = (
            nearest_support(view, self.queue.rows, valid=valid) for view in (z_a, z_b)
        )
        a_to_b = self._contrast(friends_a, upcast(p_b), progress)
        b_to_a = self._contrast(friends_b, upcast(p_a), progress)
        loss = (a_to_b + b_to_a) / 2
        return {"loss": loss}

    def _contrast(self, friends: Tensor, predictions: Tensor, progress: Progress) -> Tensor:
        """Return the mean of eq. 3 and 4."""
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        losses = [
            batch_nce(
                query,
                self.comm.gather(keys),
                temperature=temperature,
                offset=self.comm.rank * len(query),
                decoupled=self.config.denominator == "dcl",
            )
            for query, keys in ((friends, predictions), (predictions, friends))
        ]
        return torch.stack(losses).mean()

    def after_step(self, progress: Progress) -> None:
        self.queue.advance(self.comm.gather)
