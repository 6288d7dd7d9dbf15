"""ClusterFit: train a new encoder to predict the cluster of another model's features.

Yan et al. 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.pretext import classify
from manta.materials import ClusterMaterial, Material, SampleValues
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._parts import mlp


class ClusterFitConfig(ObjectiveConfig):
    """Settings of ClusterFit."""

    name: Literal["clusterfit"] = "clusterfit"
    model: str = Field(
        description="model whose features are clustered: a run, a registered model or a folder"
    )
    clusters: int = Field(
        256, ge=2, description="the main knob; thousands, up to 50,000, in the paper"
    )
    cluster_seed: int = Field(0, ge=0, description="of the k-means")
    classifier: HeadConfig = Field(
        HeadConfig(layers=1), description="its width out is the number of clusters"
    )


@OBJECTIVES.register("clusterfit")
class ClusterFit(Objective[ClusterFitConfig]):
    """Cross-entropy of the cluster's number, from one view.

    The number carries less than the features did, which is the point: the clustering loses what
    only the first model's pretext needed.

    Ours: the view is SimCLR's.
    """

    Config = ClusterFitConfig
    family = "clustering"
    paper = Paper(
        "ClusterFit: Improving Generalization of Visual Representations",
        2020,
        "arXiv:1912.03330, CVPR 2020",
        source="S278",
    )
    views = "1 global"
    keeps = ("clusters",)

    def __init__(self, config: ClusterFitConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.classifier = mlp(encoder.embed_dim, config.classifier, out=config.clusters)
        self.clusters = SampleValues(data.materials["clusters"])

    @classmethod
    def materials(cls, config: ClusterFitConfig) -> Mapping[str, Material]:
        return {"clusters": ClusterMaterial(config.model, config.clusters, config.cluster_seed)}

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=1)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.global_views
        logits = self.classifier(self.encoder(view.data))
        classes = self.clusters[batch.index]
        accuracy = (logits.argmax(1) == classes).float().mean()
        return {"loss": classify(logits, classes), "accuracy": accuracy}
