"""Hallucinator: MoCo with a second positive that is generated in feature space.

Wu et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress
from manta.encoders import Encoder
from manta.functional.info_nce import blend, queue_nce
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._config import HeadConfig
from manta.objectives._momentum import MomentumConfig, MomentumQueue
from manta.objectives._parts import mlp


class HallucinatorConfig(MomentumConfig):
    """Settings of Hallucinator (hallucinated positives)."""

    name: Literal["hallucinator"] = "hallucinator"
    extrapolation: float = Field(
        1.0, ge=0, description="largest step away from the key, in distances of the pair"
    )
    weight: float = Field(1.0, ge=0, description="of the hallucinated pairs against the real ones")
    smoother: HeadConfig | None = Field(
        HeadConfig(hidden=128, out=128, layers=2, norm=None),
        description="network applied to the extrapolated feature, as wide as the projector's "
        "output; None: none",
    )


@OBJECTIVES.register("hallucinator")
class Hallucinator(MomentumQueue[HallucinatorConfig]):
    """MoCo v2 on the real pairs, and on pairs with one side extrapolated and smoothed.

    Extrapolation of one side of a pair and a small non-linear network, trained end to end, as
    additional positives are the paper's.

    Ours: the side is the query, through which gradients flow; its step `l` away from the key, `(1 +
    l) q - l k`, is uniform in (0, `extrapolation`); and the network's output is added to its input,
    so that it starts near what it smooths.
    """

    Config = HallucinatorConfig
    family = "contrastive"
    paper = Paper(
        "Hallucination Improves the Performance of Unsupervised Visual Representation Learning",
        2023,
        "arXiv:2307.12168, ICCV 2023",
        source="S208",
    )

    def __init__(self, config: HallucinatorConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        width, head = self.projector.out, config.smoother
        self.smoother = None if head is None else mlp(width, head, out=width)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        pairs, temperature, rows = self.pairs(batch), self.temperature(progress), self.queue.rows
        steps = self.config.extrapolation * keyed_uniform(batch.index, progress, len(pairs))
        directions = zip(pairs, steps.T, strict=True)
        away = torch.cat([blend(q, k, 1 + step.unsqueeze(1)) for (q, k), step in directions])
        smoothed = away if self.smoother is None else away + self.smoother(away)
        imagined = zip(smoothed.chunk(len(pairs)), pairs, strict=True)
        real_losses = [queue_nce(q, k, rows, temperature=temperature) for q, k in pairs]
        losses = [queue_nce(h, k, rows, temperature=temperature) for h, (_, k) in imagined]
        contrast, hallucinated = torch.stack(real_losses).mean(), torch.stack(losses).mean()
        loss = contrast + self.config.weight * hallucinated
        return {"loss": loss, "real": contrast.detach(), "hallucinated": hallucinated.detach()}
