"""Clusterings against scikit-learn run by hand, and on blobs whose clusters are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_score
from sklearn.preprocessing import normalize
from torch import Tensor

from manta.evaluators import Features, build, evaluate_all
from manta.evaluators.clustering import ClusteringConfig


def blobs(*, each: int = 40) -> tuple[Tensor, Tensor]:
    """Rows sorted by class: six directions, of any length."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(6).repeat_interleave(each)
    length = 10 ** torch.linspace(-1, 1, 6 * each)[torch.randperm(6 * each, generator=generator)]
    return length[:, None] * (
        torch.eye(6, 8)[labels] + 0.05 * torch.randn(6 * each, 8, generator=generator)
    ), labels


def clustered(queries: Tensor, labels: Tensor | None, **settings: object) -> dict[str, float]:
    config = ClusteringConfig.model_validate(settings)
    return evaluate_all([build(config)], Features(queries[:1], queries, None, labels))


def test_scores_equal_scikit_learns() -> None:
    images, labels = load_digits(return_X_y=True)
    queries, truth = torch.tensor(images[:500], dtype=torch.float32), torch.tensor(labels[:500])
    numbers = clustered(queries, truth, rows=400, quadratic_rows=300, starts=2, least=5, seed=3)
    drawn = torch.randperm(500, generator=torch.Generator().manual_seed(3))[:400].numpy()
    points, classes = normalize(images[:500].astype(np.float64))[drawn], labels[:500][drawn]
    expected: dict[str, float] = {}
    for name, rows, method in (
        ("kmeans", 400, KMeans(10, n_init=2, random_state=3)),
        ("ward", 300, AgglomerativeClustering(10)),
        ("hdbscan", 300, HDBSCAN(min_cluster_size=5, copy=True)),
    ):
        found = method.fit_predict(points[:rows])
        expected[f"clustering_{name}_ami"] = adjusted_mutual_info_score(classes[:rows], found)
        expected[f"clustering_{name}_ari"] = adjusted_rand_score(classes[:rows], found)
    expected["clustering_hdbscan_clusters"] = len(set(found.tolist()) - {-1})
    expected["clustering_hdbscan_noise"] = np.mean(found == -1)
    assert numbers == pytest.approx(expected, abs=1e-9)
    assert numbers["clustering_kmeans_ami"] > 0.6
    assert 0 < numbers["clustering_hdbscan_noise"] < 1
    assert numbers == clustered(
        queries, truth, rows=400, quadratic_rows=300, starts=2, least=5, seed=3
    )


def test_blobs_are_found_whatever_the_length_of_rows() -> None:
    queries, labels = blobs()
    numbers = clustered(queries, labels)
    for algorithm in ("kmeans", "ward"):
        assert numbers[f"clustering_{algorithm}_ami"] == pytest.approx(1.0)
        assert numbers[f"clustering_{algorithm}_ari"] == pytest.approx(1.0)
    assert numbers["clustering_hdbscan_clusters"] == 6
    # Labels without meaning: agreement by chance is 0.
    noise = clustered(
        queries, labels[torch.randperm(240, generator=torch.Generator().manual_seed(1))]
    )
    assert abs(noise["clustering_kmeans_ami"]) < 0.05
    assert abs(noise["clustering_ward_ari"]) < 0.05


def test_without_labels_the_silhouette_says_how_many_clusters_are_right() -> None:
    queries, _ = blobs()
    right, wrong = (clustered(queries, None, clusters=count) for count in (6, 3))
    points = normalize(queries.double().numpy())
    found = AgglomerativeClustering(6).fit_predict(points)
    assert right["clustering_ward_silhouette"] == pytest.approx(
        silhouette_score(points, found), abs=1e-9
    )
    assert right["clustering_kmeans_silhouette"] > wrong["clustering_kmeans_silhouette"] + 0.2
    assert set(right) == {
        "clustering_kmeans_silhouette",
        "clustering_ward_silhouette",
        "clustering_hdbscan_silhouette",
        "clustering_hdbscan_clusters",
        "clustering_hdbscan_noise",
    }
    # HDBSCAN's is without the rows that it calls noise, and it needs no number of clusters.
    alone = clustered(queries, None)
    found = HDBSCAN(min_cluster_size=10, copy=True).fit_predict(points[drawn := shuffled(240)])
    kept = found >= 0
    assert set(alone) == {
        f"clustering_hdbscan_{name}" for name in ("silhouette", "clusters", "noise")
    }
    expected = silhouette_score(points[drawn][kept], found[kept])
    assert alone["clustering_hdbscan_silhouette"] == pytest.approx(expected, abs=1e-9)
    assert alone["clustering_hdbscan_noise"] == pytest.approx(1 - kept.mean())


def shuffled(rows: int) -> np.ndarray:
    order: np.ndarray = torch.randperm(rows, generator=torch.Generator().manual_seed(0)).numpy()
    return order


@pytest.mark.parametrize(
    "queries",
    [torch.ones(50, 4), torch.full((50, 4), math.nan), torch.randn(3, 4)],
    ids=["one", "nan", "few"],
)
@pytest.mark.parametrize("labelled", [True, False])
def test_no_number_without_clusters_to_find(queries: Tensor, labelled: bool) -> None:
    labels = torch.arange(len(queries)) % 5 if labelled else None
    numbers = clustered(queries, labels, clusters=5)
    assert len(numbers) == (8 if labelled else 5)
    assert all(map(math.isnan, numbers.values()))
