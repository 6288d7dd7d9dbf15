"""Clusters of the data, by k-means of a model's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.errors import ConfigError, DataError
from manta.materials._base import (
    MATERIALS,
    Material,
    PartWork,
    RowIndexes,
    Target,
    Vectors,
    Workshop,
)

FIT_ROWS = 200_000
"""Most rows to which centroids are fitted, spread over the data."""

OverParts = Callable[[PartWork[Any], Any], Iterator[tuple[int, Any]]]
"""`Workshop.over_parts` of one folder of features."""


@MATERIALS.register("clusters")
@dataclass(frozen=True, slots=True)
class ClusterMaterial(Material):
    """A table of `[rows]` int32, each sample's cluster by k-means of a model's features.

    Attributes:
        model: as `ModelMaterial.model`; None: a denoising autoencoder, trained on the data for
            this.
        clusters: number of clusters.
        seed: of the k-means.
    """

    model: str | None
    clusters: int
    seed: int = 0

    def make(self, workshop: Workshop, target: Target) -> None:
        if self.clusters > workshop.rows:
            raise ConfigError(
                f"{self.clusters} clusters of {workshop.rows:,} rows: lower the number of clusters"
            )
        features = workshop.features(self.model, seed=self.seed, purpose="the pseudo-classes")
        with target.table(np.int32, workshop.rows) as table:
            self.assign(partial(workshop.over_parts, features), table)

    def assign(self, over_parts: OverParts, table: npt.NDArray[np.int32]) -> None:
        """Fill `table [rows]` with each row's cluster, by k-means of the normalised embeddings.

        Centroids start from k-means++ and are fitted in mini-batches to a sample of the rows. Ray
        tasks read the parts twice: for the sample, and to assign every row. This process holds only
        the sample and the results of a few tasks.

        Raises:
            DataError: rows are missing.
        """
        from sklearn.cluster import MiniBatchKMeans

        every = max(1, -(-len(table) // FIT_ROWS))
        sampled = dict(over_parts(_sample, every))
        if (missing := len(table) - sum(rows for rows, _ in sampled.values())) != 0:
            raise DataError(
                f"{missing:,} rows do not decode any more and have no features; ingest again"
            )
        # In the order of the parts and not in that in which tasks ended, so that the same data give
        # the same clusters.
        sample = np.concatenate(
            [vectors for number in sorted(sampled) for vectors in sampled.pop(number)[1]]
        )
        model = MiniBatchKMeans(
            self.clusters, random_state=self.seed, n_init=3, batch_size=4096
        ).fit(sample)
        for _, groups in over_parts(_nearest, model.cluster_centers_):
            for index, clusters in groups:
                table[index] = clusters


def _sample(groups: Iterator[Vectors], every: int) -> tuple[int, list[npt.NDArray[np.float32]]]:
    """Return the number of rows, and the unit vectors of those whose row number `every` divides."""
    rows, sample = 0, []
    for index, vectors in groups:
        rows += len(index)
        sample.append(_unit(vectors[index % every == 0]))
    return rows, sample


def _nearest(
    groups: Iterator[Vectors], centroids: npt.NDArray[np.float32]
) -> list[tuple[RowIndexes, npt.NDArray[np.int32]]]:
    """Return, for each row group, the row numbers and the numbers of their nearest centroids."""
    from sklearn.metrics import pairwise_distances_argmin

    return [
        (index, pairwise_distances_argmin(_unit(vectors), centroids).astype(np.int32))
        for index, vectors in groups
        if len(index)
    ]


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return scaled
