"""G-SimCLR: SimCLR whose negatives come from other pseudo-classes, found by clustering.

Chakraborty et al. 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.restricted import restricted_nt_xent
from manta.keyed import keyed_uniform
from manta.materials import ClusterMaterial, Material, SampleValues
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.schedules import value_of


class GSimCLRConfig(ObjectiveConfig):
    """Settings of G-SimCLR (SimCLR guided by pseudo-labels)."""

    name: Literal["gsimclr"] = "gsimclr"
    model: str | None = Field(
        None,
        description="model whose features are clustered: a run, registered model or folder; "
        "None: a denoising autoencoder",
    )
    clusters: int = Field(
        256, ge=2, description="pseudo-classes; the paper's batches are no larger than this"
    )
    cluster_seed: int = Field(0, ge=0, description="of the k-means")
    one_per_class: bool = Field(
        True,
        description="one sample of each other pseudo-class, drawn at each step, is a negative; "
        "false: all are",
    )
    temperature: Temperature = Field(0.5, description="of the cosines")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )


@OBJECTIVES.register("gsimclr")
class GSimCLR(Objective[GSimCLRConfig]):
    """NT-Xent with one negative of each other pseudo-class, and none of the anchor's own.

    Ours: the paper draws batches without two members of a pseudo-class. Here batches are drawn as
    usual, and at each step one member stands for each pseudo-class among the negatives: an anchor
    and its negatives are then a batch of the paper's kind, no larger than the number of
    pseudo-classes, and every sample of the batch is an anchor. With `one_per_class=false` an anchor
    only leaves out its own pseudo-class, and many negatives may be of one other.
    """

    Config = GSimCLRConfig
    family = "contrastive"
    paper = Paper(
        "G-SimCLR: Self-Supervised Contrastive Learning "
        "with Guided Projection via Pseudo Labelling",
        2020,
        "arXiv:2009.12007, ICDM workshops 2020",
        source="S056",
    )
    exchange = Exchange.GATHER
    keeps = ("clusters",)

    def __init__(self, config: GSimCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.clusters = SampleValues(data.materials["clusters"])

    @classmethod
    def materials(cls, config: GSimCLRConfig) -> Mapping[str, Material]:
        return {"clusters": ClusterMaterial(config.model, config.clusters, config.cluster_seed)}

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        allowed = self.allowed(batch.index, progress)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        keys = self.gathered(z_a, z_b)
        loss = restricted_nt_xent(z_a, z_b, allowed=allowed, temperature=temperature, **keys)
        return {"loss": loss}

    def allowed(self, index: Tensor, progress: Progress) -> Tensor:
        """Return `[N, M]` bool, which of all ranks' samples are negatives of this rank's."""
        everyone = self.comm.gather(index)
        classes = self.clusters[everyone]
        allowed = self.clusters[index][:, None] != classes
        if self.config.one_per_class:
            drawn = keyed_uniform(everyone, progress, 1).squeeze(1)
            least = drawn.new_ones(self.config.clusters).scatter_reduce(0, classes, drawn, "amin")
            allowed &= drawn == least[classes]
        return allowed
