"""MoCHi: MoCo whose hardest negatives are mixed into harder ones (Kalantidis et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from manta.batch import Batch, Progress
from manta.functional.info_nce import hardest, mixed_negatives, query_mixed_negatives, queue_nce
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._momentum import MomentumConfig, MomentumQueue
from manta.schedules import Duration, steps


class MoCHiConfig(MomentumConfig):
    """Settings of MoCHi (mixing of contrastive hard negatives)."""

    name: Literal["mochi"] = "mochi"
    hardest: int = Field(
        128, ge=2, description="negatives of a query that are mixed; 1024 of 65536 in the paper"
    )
    mixed: int = Field(128, ge=0, description="mixes of two of them; 1024 in the paper")
    query_mixed: int = Field(
        32, ge=0, description="mixes of one of them and the query; 128 in the paper"
    )
    query_share: float = Field(
        0.5, gt=0, le=1, description="largest part of the query in a mix; 0.5 in the paper"
    )
    warmup: Duration = Field(
        0,
        description="steps, or fraction of the run, before the first mix; 10 of 100 epochs in the "
        "paper",
    )

    @model_validator(mode="after")
    def _hardest_are_of_the_queue(self) -> MoCHiConfig:
        if self.hardest > self.queue:
            raise ValueError(
                f"queue: the {self.hardest} hardest negatives of {self.queue} cannot be taken; "
                "raise it"
            )
        return self


@OBJECTIVES.register("mochi")
class MoCHi(MomentumQueue[MoCHiConfig]):
    """MoCo v2, with synthetic negatives for each query, through which no gradient flows.

    The mixing weights are uniform in (0, 1) and (0, `query_share`). No negative is mixed with
    itself.
    """

    Config = MoCHiConfig
    family = "contrastive"
    paper = Paper(
        "Hard Negative Mixing for Contrastive Learning",
        2020,
        "arXiv:2010.01028, NeurIPS 2020",
        source="S189",
    )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        temperature, queue = self.temperature(progress), self.queue.rows
        warm = progress.step >= steps(self.config.warmup, progress.total_steps)
        losses = []
        for direction, (q, k) in enumerate(self.pairs(batch)):
            own = self._synthetic(q, batch.index, progress, direction) if warm else None
            losses.append(queue_nce(q, k, queue, temperature=temperature, own=own))
        return {"loss": torch.stack(losses).mean()}

    def _synthetic(
        self, query: Tensor, index: Tensor, progress: Progress, direction: int
    ) -> Tensor:
        """Return `[B, mixed + query_mixed, D]` synthetic negatives."""
        config, count = self.config, self.config.hardest
        sizes = [config.mixed] * 3 + [config.query_mixed] * 2
        drawn = keyed_uniform(index, progress, sum(sizes), salt=direction)
        first, apart, part, chosen, query_part = torch.split(drawn, sizes, dim=1)
        first, chosen = (first * count).long(), (chosen * count).long()
        second = (first + 1 + (apart * (count - 1)).long()) % count
        hard = hardest(query, self.queue.rows, count=count)
        mixed = mixed_negatives(hard, first, second, part)
        query_weight = config.query_share * query_part
        query_mixed = query_mixed_negatives(query, hard, chosen, query_weight)
        return torch.cat([mixed, query_mixed], dim=1)
