"""AMCL: several projections of one encoder, and a temperature for every pair of samples.

Wang et al. 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.temperature import AMCLTerms, amcl_terms
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class AMCLConfig(ObjectiveConfig):
    """Settings of AMCL (adaptive multi-head contrastive learning)."""

    name: Literal["amcl"] = "amcl"
    heads: int = Field(3, ge=1, description="projectors, each with a loss of its own")
    beta: float = Field(0.01, ge=0, description="weight of the temperatures' regulariser")
    temperature_min: float = Field(
        0.1, gt=0, description="lowest that a pair can have; 1e-5 in the authors' code"
    )
    temperature_max: float = Field(2.0, gt=0, description="highest that a pair can have")
    hardest: int = Field(
        100, ge=1, description="negatives of the highest cosine that an anchor is compared with"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )
    temperature_head: HeadConfig = Field(
        HeadConfig(hidden=128, out=128, layers=2, norm=None), description="shared by the projectors"
    )

    @model_validator(mode="after")
    def _range_ascends(self) -> AMCLConfig:
        if self.temperature_min >= self.temperature_max:
            raise ValueError(
                f"temperature_min must be below temperature_max, {self.temperature_max:g}"
            )
        return self


class _Heads(nn.ModuleList):
    """C projectors side by side: `[N, D] -> [N, C, D']`."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([head(x) for head in self], dim=1)


@OBJECTIVES.register("amcl")
class AMCL(Objective[AMCLConfig]):
    """AMCL over SimCLR, summed over heads, with all ranks' samples as negatives.

    An anchor has 2M - 2 negatives of both views. The loss, the sigmoid of minus the scores' product
    and the hardest negatives are the paper's.

    Ours: the lowest temperature. The likelihood of a negative below a right angle falls without end
    as its temperature does.
    """

    Config = AMCLConfig
    family = "contrastive"
    paper = Paper(
        "Adaptive Multi-head Contrastive Learning",
        2024,
        "arXiv:2310.05615, ECCV 2024",
        source="S210",
    )
    exchange = Exchange.GATHER

    def __init__(self, config: AMCLConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        projectors = [mlp(encoder.embed_dim, config.projector) for _ in range(config.heads)]
        self.projectors = _Heads(projectors)
        self.scorer = mlp(projectors[0].out, config.temperature_head)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        model = nn.Sequential(self.encoder, self.projectors)
        z = torch.stack(self.fused(model, batch.global_views))  # [2, B, C, D]
        scores = self.scorer(F.normalize(z, dim=3).flatten(0, 2)).unflatten(0, z.shape[:3])
        z_keys, score_keys = (
            self.comm.gather(upcast(x).transpose(0, 1)).transpose(0, 1) for x in (z, scores)
        )
        heads = [
            amcl_terms(
                *z[:, :, head],
                *scores[:, :, head],
                low=self.config.temperature_min,
                high=self.config.temperature_max,
                hardest=self.config.hardest,
                keys_a=z_keys[0, :, head],
                keys_b=z_keys[1, :, head],
                score_keys_a=score_keys[0, :, head],
                score_keys_b=score_keys[1, :, head],
                offset=self.comm.rank * len(batch),
            )
            for head in range(self.config.heads)
        ]
        terms = AMCLTerms(*(torch.stack(term).sum() for term in zip(*heads, strict=True)))
        return {
            "loss": terms.likelihood + self.config.beta * terms.regulariser,
            "likelihood": terms.likelihood.detach(),
            "regulariser": terms.regulariser.detach(),
            "temperature": terms.temperature / len(heads),
        }
