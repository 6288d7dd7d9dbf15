"""What BYOL and the methods that add a term to it have in common: a predictor against a momentum
teacher."""

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
    """The teacher's momentum and the two heads, as `byol` has them."""

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
    """Encoder, projector and predictor, and a momentum teacher of the first two; a method adds
    `forward`.

    The teacher runs in train mode, as in BYOL's paper: its BatchNorm normalises by the batch.
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
    """Squared distance of the normalised prediction from each view and the other's target, mean
    over directions."""
    return 2 + negative_cosine(p_a, z_b) + negative_cosine(p_b, z_a)


def matching(predictor: HeadConfig, projector: Head) -> Head:
    """A predictor from `projector`'s output to as many numbers, whatever its own `out` says."""
    return mlp(projector.out, predictor, out=projector.out)


def sees_shift(head: HeadConfig) -> bool:
    """Whether a head sees a constant added to its input, or its first BatchNorm removes it.

    What feeds a head that does not must have no bias in its last layer: no gradient would reach it.
    """
    return head.norm != "batch" or head.layers == 1
