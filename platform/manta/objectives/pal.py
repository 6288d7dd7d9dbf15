"""PAL: VICReg or SimCLR on a graph of related samples, to which an oracle may add.

Cabannes et al. 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import vicreg_terms
from manta.functional.graphs import graph_invariance, graph_nt_xent
from manta.keyed import keyed_uniform
from manta.materials import ColumnMaterial, Material, SampleValues
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.schedules import value_of

UNKNOWN = -1


class PALConfig(ObjectiveConfig):
    """Settings of PAL (positive active learning)."""

    name: Literal["pal"] = "pal"
    loss: Literal["vicreg", "simclr"] = Field(
        "vicreg", description="which method's loss is put on the graph"
    )
    oracle: str | None = Field(
        None,
        description="column whose equal values mean related samples; None: views only, no labels",
    )
    budget: float = Field(
        1.0, gt=0, le=1, description="fraction of the samples for which the oracle answers"
    )
    invariance: float = Field(25.0, ge=0, description="vicreg: weight of the distance along edges")
    variance: float = Field(
        25.0, ge=0, description="vicreg: weight of the hinge on standard deviations"
    )
    covariance: float = Field(1.0, ge=0, description="vicreg: weight of the squared covariances")
    temperature: Temperature = Field(0.5, description="simclr: of the cosines")
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=1024, layers=3),
        description="head between the encoder and the loss",
    )


@OBJECTIVES.register("pal")
class PAL(Objective[PALConfig]):
    """A loss over the edges of a graph on the global batch's views.

    Without an oracle two views are related if they are of one sample, and the loss is the plain
    method's. With one, also if their samples' values are known, within the budget and equal. Which
    samples the oracle answers for is drawn once, by their index, so that a budget of 0.1 never
    reads more than a tenth of the values. Labels are used only where the user names the column.

    Ours: the paper's oracle answers for pairs; pairs of equal values are what such answers amount
    to when it gives one value for each sample.
    """

    Config = PALConfig
    family = "contrastive"
    paper = Paper(
        "Active Self-Supervised Learning: A Few Low-Cost Relationships Are All You Need",
        2023,
        "arXiv:2303.15256, ICCV 2023",
        source="S113",
    )
    exchange = Exchange.GATHER
    labels = "optional"
    slow_start = True

    def __init__(self, config: PALConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # No term of VICReg sees a shift.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=config.loss == "simclr")
        self.oracle = None if config.oracle is None else SampleValues(data.materials["oracle"])

    @classmethod
    def materials(cls, config: PALConfig) -> Mapping[str, Material]:
        return {} if config.oracle is None else {"oracle": ColumnMaterial(config.oracle)}

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol" if self.config.loss == "vicreg" else "simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        related = self.related(batch.index, progress.seed)
        graph = {"related": related, "average": self.comm.mean, **self.gathered(z_a, z_b)}
        edges = {"related": related.sum(1).float().mean()}
        if self.config.loss == "simclr":
            temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
            return {"loss": graph_nt_xent(z_a, z_b, temperature=temperature, **graph), **edges}
        terms = vicreg_terms(z_a, z_b, average=self.comm.mean, ranks=self.comm.world)
        terms = terms._replace(invariance=graph_invariance(z_a, z_b, **graph))
        loss = (
            self.config.invariance * terms.invariance
            + self.config.variance * terms.variance
            + self.config.covariance * terms.covariance
        )
        logged = {name: term.detach() for name, term in terms._asdict().items()}
        return {"loss": loss, **logged, **edges}

    def related(self, index: Tensor, seed: int) -> Tensor:
        """Return `[N, M]` bool, which of the global batch are related to this rank's samples."""
        everyone = self.comm.gather(index)
        related = index[:, None] == everyone
        if self.oracle is None:
            return related
        drawn = keyed_uniform(index, Progress(0, 1, seed), 1).squeeze(1) < self.config.budget
        values = torch.where(drawn, self.oracle[index], UNKNOWN)
        has_value = (values != UNKNOWN)[:, None]
        return related | (has_value & (values[:, None] == self.comm.gather(values)))
