"""Silhouette of clusters of the features after UMAP, without labels.

Lowe, Haurum, Oore, Moeslund & Taylor 2024, "An Empirical Study into Clustering of Unseen Datasets
with Self-Supervised Encoders": measured in a UMAP-reduced space, the silhouette goes with the
agreement of clusters and true classes. As they recommend, clusters are Ward's, their number that of
the largest silhouette, and UMAP is set for clustering.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from manta.evaluators._base import (
    EVALUATORS,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    subsample,
)
from manta.evaluators._metrics import Metric

Points = NDArray[np.float32]


class SilhouetteConfig(EvaluatorConfig):
    """Settings of the reduction and of the clustering.

    Two clusters are not among the defaults: any outlier makes a clean cut in two.
    """

    name: Literal["silhouette"] = "silhouette"
    # From 4,096 rows on UMAP's graph is approximate, and slow to compile.
    rows: int = Field(1000, ge=4, le=4000, description="queries used, at most, drawn at random")
    dimensions: int = Field(
        10, ge=2, description="of the reduced space; 50 in the paper, which finds 5 to 100 alike"
    )
    neighbours: int = Field(
        30, ge=2, description="of a row in UMAP's graph; clipped to the other rows"
    )
    clusters: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (5, 10, 20, 50, 100), min_length=1, description="numbers of clusters to choose from"
    )
    seed: int = Field(0, ge=0, description="of the draw of rows and of UMAP")


METRICS = {
    "silhouette": Metric(
        "Silhouette of clusters",
        "−1 to 1; how clearly groups are apart.",
        better="higher",
        health=True,
        worst=-1.0,
    ),
}


@EVALUATORS.register("silhouette")
class Silhouette(Evaluator[SilhouetteConfig]):
    """Silhouette of Ward clusters in a UMAP-reduced space, between -1 and 1: `silhouette`."""

    Config = SilhouetteConfig
    title = "Clusters after UMAP"
    about = "How clearly the features fall apart into groups, without labels."
    metrics = METRICS

    def evaluate(self, features: Features) -> Scores:
        from scipy.cluster.hierarchy import cut_tree, ward
        from sklearn.metrics import silhouette_score

        points: Points = (
            subsample(features.queries, self.config.rows, seed=self.config.seed)
            .float()
            .cpu()
            .numpy()
        )
        distinct = len(np.unique(points, axis=0)) if np.isfinite(points).all() else 0
        counts = [count for count in self.config.clusters if count < distinct]
        if not counts:
            return {"silhouette": float("nan")}
        reduced = self._reduce(points)
        members = cut_tree(ward(reduced), n_clusters=counts)
        return {"silhouette": max(float(silhouette_score(reduced, labels)) for labels in members.T)}

    def _reduce(self, points: Points) -> Points:
        """Reduce `[N, D]` to `[N, dimensions]`, the same at every call."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # it wishes for TensorFlow
            from umap import UMAP

        config = self.config
        reducer = UMAP(
            n_components=min(config.dimensions, *points.shape),
            n_neighbors=min(config.neighbours, len(points) - 1),
            min_dist=0.0,
            init="pca",  # unlike the spectral one it cannot fail to converge
            random_state=config.seed,
            n_jobs=1,  # what a seed asks for
        )
        reduced: Points = reducer.fit_transform(points)
        return reduced
