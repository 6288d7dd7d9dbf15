"""The common part of MoCo and its successors: a momentum teacher of keys and a queue of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.objectives._base import Objective
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._memory import Queue
from manta.objectives._parts import ema_update, mlp, momentum_copy
from manta.schedules import value_of


class MomentumConfig(ObjectiveConfig):
    """Settings of a momentum teacher and the queue of its keys."""

    temperature: Temperature = Field(0.2, description="of the cosines; 0.2 in MoCo v2")
    momentum: Momentum = Field(0.99, description="of the teacher; 0.999 in the papers' long runs")
    queue: int = Field(
        2048, ge=1, description="keys that are remembered as negatives; 65536 in the papers"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2, norm=None),
        description="without BatchNorm, as in MoCo v2",
    )


C = TypeVar("C", bound=MomentumConfig)


class KeyQueue(Queue):
    """A queue that takes, at the end of a step, what all micro-batches collected on all ranks."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        self._collected: list[Tensor] = []

    def collect(self, *views: Tensor) -> None:
        """Remember `[B, width]` of each view for the end of the step."""
        # Sample by sample, so that their order is the global batch's, however it is split.
        self._collected.append(torch.stack(views, dim=1).flatten(0, 1).detach())

    def advance(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Push what was collected; `gather` is the objective's."""
        self.push(gather(torch.cat(self._collected)))
        self._collected.clear()


class MomentumTeacher(Objective[C]):
    """An encoder with a projector, and their moving average, the teacher, which gives keys.

    The teacher runs in train mode.

    Ours: no shuffled BatchNorm. MoCo shuffles the batch over GPUs, so that a query cannot recognise
    its key by the BatchNorm statistics that they share; here these are the global batch's, which
    reveal less.
    """

    exchange = Exchange.GATHER

    def __init__(self, config: C, encoder: Encoder, data: DataFacts, *, bias: bool = True) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector, bias=bias)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.projector))

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    @property
    def student(self) -> nn.Sequential:
        """Return the modules that give queries."""
        return nn.Sequential(self.encoder, self.projector)

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Return unit vectors (query, key), `[B, D]` both.

        Each view's query is paired with the teacher's key of the other view.
        """
        views = batch.global_views
        q_a, q_b = (F.normalize(upcast(z), dim=1) for z in self.fused(self.student, views))
        with torch.no_grad():
            k_a, k_b = (F.normalize(upcast(z), dim=1) for z in self.fused(self.teacher, views))
        return [(q_a, k_b), (q_b, k_a)]

    def temperature(self, progress: Progress) -> float:
        """Return the temperature of this step."""
        return value_of(self.config.temperature, progress.step, progress.total_steps)

    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, nn.Sequential(self.encoder, self.projector), momentum)


class MomentumQueue(MomentumTeacher[C]):
    """A momentum teacher whose keys of both views enter a queue after each step."""

    keeps = ("teacher", "queue")

    def __init__(self, config: C, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.queue = KeyQueue(config.queue, self.projector.out)

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        pairs = super().pairs(batch)
        self.queue.collect(*(key for _, key in pairs))
        return pairs

    def after_step(self, progress: Progress) -> None:
        super().after_step(progress)
        self.queue.advance(self.comm.gather)
