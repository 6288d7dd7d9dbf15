"""SKD: BYOL, and soft targets that similar images of the batch lend each other.

Li et al. 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, Progress
from manta.functional import upcast
from manta.functional.affinity import affinities, ensembled, soft_divergence
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._bootstrap import Bootstrap, BootstrapConfig, both_ways
from manta.objectives._config import Temperature
from manta.objectives._exchange import Exchange
from manta.ragged import joined
from manta.schedules import value_of


class SKDConfig(BootstrapConfig):
    """Settings of SKD (self-knowledge distillation)."""

    name: Literal["skd"] = "skd"
    weight: float = Field(
        1.0, ge=0, description="of the self-knowledge distillation against BYOL's loss"
    )
    temperature: Temperature = Field(
        0.1, description="of the softmax over the dimensions of the normalised outputs"
    )
    affinity_temperature: Temperature = Field(
        0.1, description="of the cosines that decide how much samples lend each other"
    )
    lent: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="share of a soft target that comes from other samples; 0.5 in BAKE",
    )


@OBJECTIVES.register("skd")
class SKD(Bootstrap[SKDConfig]):
    """BYOL's loss, and the predictions' divergence from the teacher's mixed soft targets.

    The abstract fixes an online and a momentum network on two views, and knowledge of other images
    by the similarity of visual features.

    Ours: the formula, after batch knowledge ensembling (Ge et al. 2021, BAKE, the source of the
    authors' later work): affinities are cosines of the teacher's encoder features over the global
    batch, and distributions are softmaxes over the dimensions of normalised projections and
    predictions.
    """

    Config = SKDConfig
    family = "non-contrastive"
    paper = Paper(
        "Self-Knowledge Distillation based Self-Supervised Learning "
        "for Covid-19 Detection from Chest X-Ray Images",
        2022,
        "arXiv:2206.03009",
        source="S077",
    )
    exchange = Exchange.GATHER
    slow_start = True

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        student = nn.Sequential(self.encoder, self.projector, self.predictor)
        p_a, p_b = self.fused(student, batch.global_views)
        at = (progress.step, progress.total_steps)
        temperature = value_of(self.config.temperature, *at)
        with torch.no_grad():
            encoder, projector = self.teacher
            y = encoder(joined([view.data for view in batch.global_views]))
            z_a, z_b = projector(y).chunk(2)
            affinity_temperature = value_of(self.config.affinity_temperature, *at)
            soft_a, soft_b = (
                self.soft_targets(features, z, temperature, affinity_temperature)
                for features, z in zip(y.chunk(2), (z_a, z_b), strict=True)
            )
        bootstrap = both_ways(p_a, p_b, z_a, z_b)
        from_b = soft_divergence(unit(p_a), soft_b, temperature=temperature)
        from_a = soft_divergence(unit(p_b), soft_a, temperature=temperature)
        distillation = (from_b + from_a) / 2
        loss = bootstrap + self.config.weight * distillation
        terms = {"bootstrap": bootstrap, "distillation": distillation}
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def soft_targets(
        self, features: Tensor, z: Tensor, temperature: float, affinity_temperature: float
    ) -> Tensor:
        """Return `[B, K]` soft targets of this rank's samples, mixed over the global batch."""
        every_feature = self.comm.gather(upcast(features))
        affinity = affinities(every_feature, temperature=affinity_temperature)
        own = F.softmax(self.comm.gather(unit(z)) / temperature, dim=1)
        mixed = ensembled(own, affinity, lent=self.config.lent)
        return mixed[self.comm.rank * len(z) :][: len(z)]


def unit(x: Tensor) -> Tensor:
    """Return rows of length 1, in full precision."""
    return F.normalize(upcast(x), dim=1)
