"""Relational reasoning: does a pair of views belong to one image or to two?

Patacchiola & Storkey 2020.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.relations import Aggregation, aggregate, focal_bce
from manta.keyed import keyed_order
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class RelationalConfig(ObjectiveConfig):
    """Settings of relational reasoning."""

    name: Literal["relational"] = "relational"
    global_views: int = Field(
        4, ge=2, description="K, the paper's key setting: up to 32 there; pairs grow as K squared"
    )
    aggregation: Aggregation = Field("cat", description="what a pair is to the relation head")
    gamma: float = Field(2.0, ge=0, description="how much less an easy pair counts; 0: all alike")
    alpha: float = Field(
        0.5, ge=0, le=1, description="weight of the related pairs; the others' is the rest"
    )
    relation: HeadConfig = Field(
        HeadConfig(hidden=256, layers=2, activation="gelu"),
        description="the relation head; its out is 1 logit",
    )


@OBJECTIVES.register("relational")
class Relational(Objective[RelationalConfig]):
    """One logit for each pair of views of a sample, and for each pair with another sample.

    There is no matrix of negatives.

    Ours: a pair's partner is drawn by sample and step from all ranks' samples, where the paper's
    code rolls the batch by one more for each pair of views. GELU replaces its LeakyReLU; with ReLU
    the head learns later.
    """

    Config = RelationalConfig
    family = "contrastive"
    paper = Paper(
        "Self-Supervised Relational Reasoning for Representation Learning",
        2020,
        "arXiv:2006.05849, NeurIPS 2020",
        source="S175",
    )
    exchange = Exchange.GATHER
    views = "4 global"
    slow_start = True

    def __init__(self, config: RelationalConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        width = encoder.embed_dim * (2 if config.aggregation == "cat" else 1)
        self.relation = mlp(width, config.relation, out=1)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=self.config.global_views)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        h = torch.stack(self.fused(self.encoder, batch.global_views), dim=1)  # [B, K, D]
        everyone, index = self.comm.gather(upcast(h)), self.comm.gather(batch.index)
        own = slice(self.comm.rank * len(h), (self.comm.rank + 1) * len(h))
        related, unrelated = [], []
        for salt, (i, j) in enumerate(combinations(range(self.config.global_views), 2)):
            partners = keyed_order(index, progress, salt=salt)[own]
            related.append(aggregate(h[:, i], h[:, j], self.config.aggregation))
            # Sliced again: backward then sums the gradients of h in the same order as ever.
            first, other = h[:, i], everyone[partners, j].to(h.dtype)
            unrelated.append(aggregate(first, other, self.config.aggregation))
        logits = self.relation(torch.cat([*related, *unrelated])).squeeze(1)
        answers = torch.arange(len(logits), device=logits.device) < len(logits) // 2
        loss = focal_bce(logits, answers, gamma=self.config.gamma, alpha=self.config.alpha)
        accuracy = ((logits > 0) == answers).to(loss.dtype).mean()
        return {"loss": loss, "accuracy": accuracy}
