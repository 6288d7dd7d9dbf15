"""DirectPred: BYOL whose linear predictor is computed from its inputs' correlation, not trained.

Tian et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.predictor import direct_predictor, participation
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._bootstrap import both_ways
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import ema_update, mlp, momentum_copy
from manta.schedules import Cosine, value_of


class DirectPredConfig(ObjectiveConfig):
    """Settings of DirectPred."""

    name: Literal["directpred"] = "directpred"
    momentum: Momentum = Field(
        Cosine(start=0.99, end=1.0), description="of the teacher; 0.996 in the paper"
    )
    correlation_momentum: float = Field(
        0.3, ge=0, lt=1, description="of the moving average of the correlation; the authors' 0.3"
    )
    eps: float = Field(
        0.1,
        ge=0,
        description="added to the predictor's eigenvalues, largest 1; 0.01 in the authors' command",
    )
    power: float = Field(
        0.5,
        gt=0,
        description="of the eigenvalues before that; below 1 lifts small ones; 1/2 in the paper",
    )
    floor: float = Field(1e-4, ge=0, description="of the predictor's eigenvalues, at least")
    every: int = Field(
        1,
        ge=1,
        description="steps between two settings of the predictor; 1 in the authors' command",
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2), description="the paper's"
    )


@OBJECTIVES.register("directpred")
class DirectPred(Objective[DirectPredConfig]):
    """A student with a predictor in closed form against a momentum teacher, in both directions.

    The predictor starts as the identity and is set after every `every` steps. The loss is BYOL's,
    halved. Logged with it is the effective rank of the moving correlation that the predictor is
    made of: 0 before the first, then 1 to D.
    """

    Config = DirectPredConfig
    family = "non-contrastive"
    paper = Paper(
        "Understanding self-supervised Learning Dynamics without Contrastive Pairs",
        2021,
        "arXiv:2102.06810, ICML 2021",
        source="S191",
    )
    keeps = ("teacher",)
    exchange = Exchange.STATISTICS
    slow_start = True
    correlation: Tensor
    predictor: Tensor

    def __init__(self, config: DirectPredConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.projector))
        width = self.projector.out
        self.register_buffer("correlation", torch.zeros(width, width))
        self.register_buffer("predictor", torch.eye(width))
        self._correlations: list[Tensor] = []  # one for each micro-batch of the step

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        f_a, f_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        f = upcast(torch.cat([f_a, f_b]).detach())
        self._correlations.append(f.T @ f / len(f))
        with torch.no_grad():
            z_a, z_b = self.fused(self.teacher, batch.global_views)
        loss = both_ways(F.linear(f_a, self.predictor), F.linear(f_b, self.predictor), z_a, z_b)
        return {"loss": loss, "correlation_rank": participation(self.correlation)}

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, nn.Sequential(self.encoder, self.projector), momentum)
        correlation = self.comm.mean(torch.stack(self._correlations).mean(0))
        self._correlations.clear()
        config = self.config
        # The average starts at zero: its scale, too small at first, does not matter to the
        # predictor.
        newest = correlation.to(self.correlation.dtype)
        self.correlation.lerp_(newest, 1 - config.correlation_momentum)
        if progress.step % config.every == 0:
            predictor = direct_predictor(
                self.correlation, eps=config.eps, power=config.power, floor=config.floor
            )
            self.predictor.copy_(predictor)
