"""BYOL's common part: a predictor trained against a momentum teacher."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field
from torch import Tensor, nn

from manta.batch import DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import negative_cosine
from manta.objectives._base import Objective
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig
from manta.objectives._parts import Head, ema_update, mlp, momentum_copy
from manta.schedules import Cosine, value_of


class BootstrapConfig(ObjectiveConfig):
    """Settings of the teacher's momentum and the two heads, as `byol` has them."""

    momentum: Momentum = Field(
        Cosine(start=0.99, end=1.0), description="of the teacher; 0.996 in the paper's long runs"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=256, layers=2),
        description="head between the encoder and the loss",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=1024, out=256, layers=2),
        description="head of one side, which predicts the other side's projection",
    )


C = TypeVar("C", bound=BootstrapConfig)


class Bootstrap(Objective[C]):
    """An encoder, projector and predictor, and a momentum teacher of the first two.

    A method adds `forward`. The teacher runs in train mode, as in BYOL's paper: its BatchNorm
    normalises by the batch.
    """

    keeps = ("teacher",)

    def __init__(self, config: C, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector, bias=sees_shift(config.predictor))
        self.predictor = matching(config.predictor, self.projector)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.projector))

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, nn.Sequential(self.encoder, self.projector), momentum)


def both_ways(p_a: Tensor, p_b: Tensor, z_a: Tensor, z_b: Tensor) -> Tensor:
    """Return BYOL's squared distance of normalised predictions and targets, mean of both ways."""
    return 2 + negative_cosine(p_a, z_b) + negative_cosine(p_b, z_a)


def matching(predictor: HeadConfig, projector: Head) -> Head:
    """Build a predictor with the projector's output width, whatever its own `out` says."""
    return mlp(projector.out, predictor, out=projector.out)


def sees_shift(head: HeadConfig) -> bool:
    """Return whether a constant added to a head's input can change its output.

    Its first BatchNorm would remove the constant. What feeds such a head must have no bias in its
    last layer: no gradient would reach it.
    """
    return head.norm != "batch" or head.layers == 1
