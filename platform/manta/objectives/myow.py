"""MYOW: also predict the projection of another sample, mined among the nearest.

Azabou et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import negative_cosine, upcast
from manta.functional.mining import nearest_others, with_mined
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._bootstrap import Bootstrap, BootstrapConfig, both_ways, matching, sees_shift
from manta.objectives._config import HeadConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import ema_update, mlp, momentum_copy
from manta.schedules import Constant, Duration, steps, value_of


class MYOWConfig(BootstrapConfig):
    """Settings of MYOW (mine your own view)."""

    name: Literal["myow"] = "myow"
    neighbours: int = Field(
        4, ge=1, description="nearest other samples, of which one is drawn as the mined view"
    )
    weight: float = Field(
        1.0, ge=0, description="of the mined view's loss against the augmented views'"
    )
    delay: Duration = Field(
        0, description="before the weight is more than 0, in steps or as a fraction of the run"
    )
    ramp: Duration = Field(
        0.125, description="after that, over which it grows to its full size; likewise"
    )
    mining_strength: float = Field(
        0.25, ge=0, description="of the augmentation under which neighbours are sought"
    )
    mined_projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=64, layers=2),
        description="on top of the projector; 1024 wide in the paper",
    )
    mined_predictor: HeadConfig = Field(
        HeadConfig(hidden=512, out=64, layers=2),
        description="predicts the mined view's second projection",
    )


@OBJECTIVES.register("myow")
class MYOW(Bootstrap[MYOWConfig]):
    """BYOL between two views, and between two samples through a second, cascaded projector.

    Each sample's third, weakly augmented view searches its neighbours among the teacher's features
    of the global batch. From the authors' code: the cascade of projectors, the cosine of encoder
    features, one of k neighbours at random, the total, the delay.

    Ours: the pool is the batch itself without the sample, where the code draws a second batch;
    `ramp` is how long the weight grows, where the code counts its end from the start of the run.
    """

    Config = MYOWConfig
    family = "non-contrastive"
    paper = Paper(
        "Mine Your Own vieW: Self-Supervised Learning Through Across-Sample Prediction",
        2021,
        "arXiv:2102.10106",
        source="S327",
    )
    views = "3 global"
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: MYOWConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        shift = sees_shift(config.mined_predictor)
        self.mined_projector = mlp(self.projector.out, config.mined_projector, bias=shift)
        self.mined_predictor = matching(config.mined_predictor, self.mined_projector)
        self.mined_teacher = momentum_copy(self.mined_projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(
            preset="byol", global_views=3, strengths=(1.0, 1.0, self.config.mining_strength)
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        y_a, y_b, y_mining = self.fused(self.encoder, batch.global_views)
        z_a, z_b, z_mining = self.projector(torch.cat([y_a, y_b, y_mining])).chunk(3)
        p_a, p_b = self.predictor(torch.cat([z_a, z_b])).chunk(2)
        with torch.no_grad():
            encoder, projector = self.teacher
            *_, pool = targets = self.fused(encoder, batch.global_views)
            target_a, target_b, target_mining = projector(torch.cat(targets)).chunk(3)
            chosen = self.mined(y_mining, self.comm.gather(upcast(pool)), batch.index, progress)
            target_mined = self.comm.gather(upcast(self.mined_teacher(target_mining)))[chosen]
        p_mined = self.mined_predictor(self.mined_projector(z_mining))

        augmented = both_ways(p_a, p_b, target_a, target_b)
        mined = 2 + 2 * negative_cosine(p_mined, target_mined)
        loss = with_mined(augmented, mined, weight=self.weight(progress))
        return {"loss": loss, "augmented": augmented.detach(), "mined": mined.detach()}

    def weight(self, progress: Progress) -> float:
        """Return the weight of the mined view's loss at this step."""
        after = progress.step - steps(self.config.delay, progress.total_steps)
        ramp = Constant(at=self.config.weight, warmup=self.config.ramp)
        return ramp.value(after, progress.total_steps) if after >= 0 else 0.0

    def mined(self, y: Tensor, pool: Tensor, index: Tensor, progress: Progress) -> Tensor:
        """Return `[B]` int64, the pool's row that is each sample's mined view."""
        k = self.config.neighbours
        near = nearest_others(y, pool, k=k, offset=self.comm.rank * len(y))
        place = (keyed_uniform(index, progress, 1) * k).long()
        return near.gather(1, place).squeeze(1)

    def after_step(self, progress: Progress) -> None:
        super().after_step(progress)
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.mined_teacher, self.mined_projector, momentum)
