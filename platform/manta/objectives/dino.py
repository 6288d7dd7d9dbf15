"""DINO: predict from any crop what a centred, sharpened teacher sees in a large one.

Caron et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._distilled import Centre, distilled
from manta.objectives._exchange import Exchange
from manta.objectives._parts import Prototypes, ema_update, mlp, momentum_copy
from manta.schedules import Constant, Cosine, value_of


class DINOConfig(ObjectiveConfig):
    """Settings of DINO (self-distillation with no labels)."""

    name: Literal["dino"] = "dino"
    local_views: int = Field(4, ge=0, description="small crops, which only the student sees")
    student_temperature: Temperature = Field(0.1, description="of the student's prototypes")
    teacher_temperature: Temperature = Field(
        Constant(at=0.07, warmup=0.3, warmup_from=0.04),
        description="of the teacher's; below the student's",
    )
    momentum: Momentum = Field(Cosine(start=0.996, end=1.0), description="of the teacher")
    center_momentum: float = Field(0.9, ge=0, lt=1, description="of the teacher's centre")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm=None, activation="gelu"),
        description="head between the encoder and the loss",
    )
    prototypes: int = Field(1024, ge=2, description="65536 in the paper")


@OBJECTIVES.register("dino")
class DINO(Objective[DINOConfig]):
    """Every view's student against every other global view's teacher.

    The teacher runs in train mode, as in the paper's code, and is the exported encoder.
    """

    Config = DINOConfig
    family = "distillation"
    paper = Paper(
        "Emerging Properties in Self-Supervised Vision Transformers",
        2021,
        "arXiv:2104.14294, ICCV 2021",
    )
    views = "2 global + 4 local"
    keeps = ("teacher", "prototypes")
    exchange = Exchange.STATISTICS
    slow_start = True

    def __init__(self, config: DINOConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        projector = mlp(encoder.embed_dim, config.projector)
        self.head = nn.Sequential(projector, Prototypes(projector.out, config.prototypes))
        self.teacher = momentum_copy(encoder)
        self.teacher_head = momentum_copy(self.head)
        self.centre = Centre(config.prototypes, config.center_momentum)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="multicrop", global_views=2, local_views=self.config.local_views)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        with torch.no_grad():
            teacher = self.fused(nn.Sequential(self.teacher, self.teacher_head), batch.global_views)
            self.centre.collect(teacher)
        model = nn.Sequential(self.encoder, self.head)
        student = self.fused(model, batch.global_views)
        if batch.local_views:
            student += self.fused(model, batch.local_views)
        loss = distilled(
            teacher,
            student,
            self.centre,
            progress,
            student_temperature=self.config.student_temperature,
            teacher_temperature=self.config.teacher_temperature,
        )
        return {"loss": loss}

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_head, self.head, momentum)
        self.centre.advance(self.comm.mean)

    @property
    def exported(self) -> Encoder:
        return self.teacher
