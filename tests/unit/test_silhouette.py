from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.evaluators import Features, build
from manta.evaluators.silhouette import SilhouetteConfig


def blobs(spread: float, *, centres: int = 6, each: int = 40) -> Tensor:
    """Rows sorted by blob, around the corners of a simplex."""
    generator = torch.Generator().manual_seed(0)
    corners = 10 * torch.eye(centres, 12).repeat_interleave(each, dim=0)
    return corners + spread * torch.randn(centres * each, 12, generator=generator)


def silhouette(queries: Tensor, **settings: object) -> float:
    config = SilhouetteConfig.model_validate({"neighbours": 15, "clusters": (3, 6, 20)} | settings)
    numbers = build(config).mean_scores(Features(queries[:1], queries))
    assert set(numbers) == {"silhouette"}
    return numbers["silhouette"]


def test_separate_blobs_score_high_one_blob_low_and_the_number_repeats() -> None:
    apart, together = silhouette(blobs(0.5)), silhouette(blobs(0.5, centres=1, each=240))
    assert apart > 0.8
    assert together < 0.5
    # The best number of clusters was the true one; and UMAP gives the same at every call.
    assert silhouette(blobs(0.5), clusters=(6,)) == apart
    assert silhouette(blobs(0.5), clusters=(3, 20)) < apart


def test_rows_are_drawn_from_all_of_the_queries() -> None:
    # The first 120 rows are three blobs only, and would be in six parts without a gap between.
    assert silhouette(blobs(0.5), rows=120, clusters=(6,)) > 0.8


@pytest.mark.parametrize(
    "queries",
    [torch.ones(50, 4), torch.full((50, 4), math.nan), torch.randn(3, 4)],
    ids=["one", "nan", "few"],
)
def test_no_number_without_clusters_to_find(queries: Tensor) -> None:
    assert math.isnan(silhouette(queries))
