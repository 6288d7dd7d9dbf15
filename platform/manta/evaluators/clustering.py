"""Clusters of frozen features, scored against the classes or, without labels, by silhouette.

Features are L2-normalised, on which squared distance is twice the cosine distance. Agreement with
the classes is adjusted mutual information and the adjusted Rand index: 0 for clusters drawn at
random, 1 for the classes themselves. The algorithms and scores are scikit-learn's. Rows that
HDBSCAN calls noise count as one more cluster against classes, and are left out of its silhouette.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._metrics import Metric, MetricFigure

Algorithm = Literal["kmeans", "ward", "hdbscan"]
Points = NDArray[np.float64]
Labels = NDArray[np.int64]


class ClusteringConfig(EvaluatorConfig):
    """The clusterings' settings."""

    name: Literal["clustering"] = "clustering"
    algorithms: tuple[Algorithm, ...] = Field(
        ("kmeans", "ward", "hdbscan"), min_length=1, description="that are compared"
    )
    clusters: int | None = Field(
        None,
        ge=2,
        description="of k-means and Ward; None: as many as classes, and neither without labels",
    )
    rows: int = Field(10_000, ge=2, description="of the queries that k-means clusters, at most")
    quadratic_rows: int = Field(
        2000, ge=2, description="of those, for what takes quadratic time: the rest and silhouettes"
    )
    starts: int = Field(3, ge=1, description="of k-means, of which the tightest counts")
    least: int = Field(10, ge=2, description="rows in a cluster of HDBSCAN")
    seed: int = Field(0, ge=0, description="of the draw of rows and of k-means")


TITLES = {"kmeans": "k-means", "ward": "Ward's", "hdbscan": "HDBSCAN"}
"""What people call the algorithms."""


def _metrics(algorithm: str, title: str) -> dict[str, Metric]:
    """Return the numbers of one algorithm."""
    return {
        f"clustering_{algorithm}_ami": Metric(
            f"{title} clusters, mutual information",
            "Agreement with the classes, adjusted: 0 is chance, 1 is the classes.",
            short=f"{title}, AMI",
            better="higher",
            figure="agreement",
        ),
        f"clustering_{algorithm}_ari": Metric(
            f"{title} clusters, Rand index",
            "Pairs on which clusters and classes agree, adjusted: 0 is chance, 1 is the classes.",
            short=f"{title}, ARI",
            better="higher",
            figure="agreement",
        ),
        f"clustering_{algorithm}_silhouette": Metric(
            f"{title} clusters, silhouette",
            "−1 to 1; how clearly groups are apart.",
            short=title,
            better="higher",
            health=True,
            figure="agreement",
        ),
    }


METRICS = {
    name: metric
    for algorithm, title in TITLES.items()
    for name, metric in _metrics(algorithm, title).items()
} | {
    "clustering_hdbscan_clusters": Metric("Clusters that HDBSCAN found", "Their number."),
    "clustering_hdbscan_noise": Metric(
        "Images in none of HDBSCAN's clusters", "Their share.", kind="fraction"
    ),
}


FIGURES = {
    "agreement": MetricFigure(
        "Clusters",
        "Groups that are found without labels. Agreement with the classes is 0 by chance and 1 for "
        "the classes themselves; a silhouette is 1 far apart and 0 touching.",
        kind="bars",
    ),
}


@EVALUATORS.register("clustering")
class Clustering(Evaluator[ClusteringConfig]):
    """Agreement of clusters with the classes, or without labels their silhouette.

    `clustering_<algorithm>_ami` and `_ari`, or `_silhouette`; of HDBSCAN `_clusters` and `_noise`.
    NaN where the rows hold too few different points, or HDBSCAN finds less than two clusters to
    compare.
    """

    Config = ClusteringConfig
    title = "Clusters"
    about = "Whether groups that are found without labels are the classes."
    metrics = METRICS
    figures = FIGURES
    takes_labels = True

    def evaluate(self, features: Features) -> Scores:
        config = self.config
        drawn = torch.randperm(
            len(features.queries), generator=torch.Generator().manual_seed(config.seed)
        )
        drawn = drawn[: config.rows].to(features.queries.device)
        points: Points = F.normalize(features.queries[drawn].double(), dim=1).cpu().numpy()
        classes = None if features.query_labels is None else _numpy(features.query_labels[drawn])
        clusters = config.clusters or (None if classes is None else len(np.unique(classes)))
        numbers: dict[str, float] = {}
        for algorithm in config.algorithms:
            if clusters is None and algorithm != "hdbscan":
                continue
            rows = config.rows if algorithm == "kmeans" else config.quadratic_rows
            part, truth = points[:rows], None if classes is None else classes[:rows]
            members = self._cluster(algorithm, part, clusters)
            scores = self._score(part, members, truth)
            if algorithm == "hdbscan":
                scores |= _sizes(members)
            numbers |= {f"clustering_{algorithm}_{name}": value for name, value in scores.items()}
        return numbers

    def _cluster(self, algorithm: Algorithm, points: Points, clusters: int | None) -> Labels | None:
        """Return the cluster of every row, -1 for noise; None where there are no such clusters."""
        from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans

        config = self.config
        distinct = len(np.unique(points, axis=0)) if np.isfinite(points).all() else 0
        if distinct < (config.least if clusters is None or algorithm == "hdbscan" else clusters):
            return None
        method = {
            "kmeans": lambda: KMeans(clusters, n_init=config.starts, random_state=config.seed),
            "ward": lambda: AgglomerativeClustering(clusters, linkage="ward"),
            "hdbscan": lambda: HDBSCAN(min_cluster_size=config.least, copy=True),
        }[algorithm]()
        members: Labels = method.fit_predict(points).astype(np.int64)
        return members

    def _score(
        self, points: Points, members: Labels | None, classes: Labels | None
    ) -> dict[str, float]:
        """Return agreement with the classes or, without them, the silhouette."""
        from sklearn.metrics import (
            adjusted_mutual_info_score,
            adjusted_rand_score,
            silhouette_score,
        )

        if classes is not None:
            if members is None:
                return {"ami": float("nan"), "ari": float("nan")}
            agreement = (
                adjusted_mutual_info_score(classes, members),
                adjusted_rand_score(classes, members),
            )
            return dict(zip(("ami", "ari"), map(float, agreement), strict=True))
        if members is None:
            return {"silhouette": float("nan")}
        rows = np.flatnonzero(members >= 0)[: self.config.quadratic_rows]
        if not 2 <= len(np.unique(members[rows])) < len(rows):
            return {"silhouette": float("nan")}
        return {"silhouette": float(silhouette_score(points[rows], members[rows]))}


def _sizes(members: Labels | None) -> dict[str, float]:
    """Return how many clusters HDBSCAN found, and the fraction of rows in none."""
    if members is None:
        return {"clusters": float("nan"), "noise": float("nan")}
    return {"clusters": float(members.max() + 1), "noise": float((members < 0).mean())}


def _numpy(labels: Tensor) -> Labels:
    array: Labels = labels.cpu().numpy().astype(np.int64)
    return array
