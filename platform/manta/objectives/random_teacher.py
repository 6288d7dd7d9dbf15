"""Random teacher: distil a teacher that was never trained, and become better than it.

Sarnthein et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import dino
from manta.functional.distillation import near_teacher
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._parts import Prototypes, mlp, momentum_copy
from manta.schedules import value_of


class RandomTeacherConfig(ObjectiveConfig):
    """Settings of random teacher: a control for what other methods' teachers add."""

    name: Literal["random_teacher"] = "random_teacher"
    distance: float = Field(
        0.1,
        gt=0,
        le=1,
        description="of the student's start from the teacher, the paper's alpha: 1 leaves the "
        "given weights; near 0, where the paper finds more is learned, it is the teacher",
    )
    augmentation: float = Field(
        0.0,
        ge=0,
        description="strength of the view that both see; 0: none, the paper's point; 1: SimCLR's",
    )
    student_temperature: Temperature = Field(
        0.1, description="of the student's prototypes, as in DINO"
    )
    teacher_temperature: Temperature = Field(0.04, description="of the teacher's, as in DINO")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm=None, activation="gelu"),
        description="the authors' is 2048 wide, of 256 outputs",
    )
    prototypes: int = Field(1024, ge=2, description="65536 in the authors' code")


@OBJECTIVES.register("random_teacher")
class RandomTeacher(Objective[RandomTeacherConfig]):
    """A student that learns a random network's output for the same, perhaps augmented, image.

    The teacher runs in train mode, without centring, and never changes. Norms whose scales are
    zero, by which timm silences residual branches at first, get 1 in both, as in the authors' code.

    Ours: the student is the given encoder, pulled towards the teacher by `distance` below 1. The
    teacher has the same weights in a random order, layer by layer: as good as new ones from the
    same distribution, which an existing encoder cannot provide.
    """

    Config = RandomTeacherConfig
    family = "distillation"
    paper = Paper(
        "Random Teachers are Good Teachers", 2023, "arXiv:2302.12091, ICML 2023", source="S051"
    )
    views = "1 global"
    keeps = ("teacher", "prototypes")
    center: Tensor

    def __init__(self, config: RandomTeacherConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        projector = mlp(encoder.embed_dim, config.projector)
        self.head = nn.Sequential(projector, Prototypes(projector.out, config.prototypes))
        # Before the copy, so that student and teacher both have their branches.
        open_branches(encoder)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.head))
        shuffle_weights(self.teacher)
        approach(nn.Sequential(encoder, self.head), self.teacher, config.distance)
        self.register_buffer("center", torch.zeros(config.prototypes))

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=1, strengths=(self.config.augmentation,))

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.global_views
        with torch.no_grad():
            target = self.teacher(view.data)
        at = (progress.step, progress.total_steps)
        loss = dino(
            self.head(self.encoder(view.data)),
            target,
            student_temperature=value_of(self.config.student_temperature, *at),
            teacher_temperature=value_of(self.config.teacher_temperature, *at),
            center=self.center,
        )
        return {"loss": loss}


@torch.no_grad()
def open_branches(encoder: nn.Module) -> None:
    """Set to 1 the scales of each norm whose scales are all zero.

    A teacher that never trains would stay without the branch that they silence.
    """
    for name, value in encoder.named_parameters():
        if name.endswith("weight") and value.ndim == 1 and not value.any():
            value.fill_(1)


@torch.no_grad()
def shuffle_weights(module: nn.Module) -> None:
    """Permute the entries of every weight matrix and kernel; biases and norms stay."""
    for weight in module.parameters():
        if weight.ndim > 1:
            order = torch.randperm(weight.numel(), device=weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))


@torch.no_grad()
def approach(student: nn.Module, teacher: nn.Module, distance: float) -> None:
    """Move the student's weight matrices and kernels to `distance` from the teacher's."""
    for own, other in zip(student.parameters(), teacher.parameters(), strict=True):
        if own.ndim > 1:
            own.copy_(near_teacher(own, other, distance=distance))
