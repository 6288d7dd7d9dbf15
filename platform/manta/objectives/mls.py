"""MLS: MoCo, and for each remembered image the question whether it is among the nearest.

Zhu et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.multilabel import dictionary_logits, multilabel_bce, nearest_labels
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._config import HeadConfig, Momentum
from manta.objectives._momentum import KeyQueue, MomentumConfig, MomentumTeacher
from manta.ragged import Data


class MLSConfig(MomentumConfig):
    """Settings of MLS (multi-label self-supervised learning)."""

    name: Literal["mls"] = "mls"
    labels: int = Field(
        20, ge=1, description="k: nearest rows of the dictionary that are right answers"
    )
    lambda_: float = Field(
        0.5, ge=0, description="weight of the multi-label loss against InfoNCE; the paper's"
    )
    momentum: Momentum = Field(0.995, description="of the teacher; the paper's")
    queue: int = Field(4096, ge=1, description="rows of both dictionaries; the paper's")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="with BatchNorm, which MoCo v2 lacks: it learns sooner",
    )


@OBJECTIVES.register("mls")
class MLS(MomentumTeacher[MLSConfig]):
    """InfoNCE and a multi-label loss of view 1 against dictionaries of second views.

    View 1's features choose labels among the remembered features of second views, and its
    projection is compared with their projections. The dictionaries are the queues and, before them,
    the batch's own keys of all ranks: the paper enqueues before it compares. Both losses use them;
    InfoNCE's positive is the sample's own key.
    """

    Config = MLSConfig
    family = "contrastive"
    paper = Paper(
        "Multi-Label Self-Supervised Learning with Scene Images",
        2023,
        "arXiv:2308.03286, ICCV 2023",
        source="S129",
    )
    keeps = ("teacher", "queue")
    slow_start = True

    def __init__(self, config: MLSConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # Both queues are in the same order.
        self.features = KeyQueue(config.queue, encoder.embed_dim)
        self.projections = KeyQueue(config.queue, self.projector.out)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        first, second = batch.global_views
        g = self.encoder(first.data)
        z = self.projector(g)
        features, projections, valid = self._dictionaries(second.data)
        temperature = self.temperature(progress)
        logits = dictionary_logits(z, projections, temperature=temperature, valid=valid)
        labels = nearest_labels(g.detach(), features, k=self.config.labels, valid=valid)
        own = self.comm.rank * len(z) + torch.arange(len(z), device=z.device)
        info_nce, multilabel = F.cross_entropy(logits, own), multilabel_bce(logits, labels)
        loss = info_nce + self.config.lambda_ * multilabel
        return {"loss": loss, "info_nce": info_nce.detach(), "multilabel": multilabel.detach()}

    @torch.no_grad()
    def _dictionaries(self, second: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows of features and of projections, and which of them are valid.

        The batch's own keys come first, then the queues.
        """
        encoder, projector = self.teacher
        g = encoder(second)
        keys = [F.normalize(upcast(x), dim=1) for x in (g, projector(g))]
        queues = (self.features, self.projections)
        for queue, key in zip(queues, keys, strict=True):
            queue.collect(key)
        features, projections = (
            torch.cat([self.comm.gather(key), queue.rows])
            for queue, key in zip(queues, keys, strict=True)
        )
        filled = torch.arange(len(self.features), device=g.device) < self.features.filled
        new = filled.new_ones(len(features) - len(filled))
        return features, projections, torch.cat([new, filled])

    def after_step(self, progress: Progress) -> None:
        super().after_step(progress)
        self.features.advance(self.comm.gather)
        self.projections.advance(self.comm.gather)
