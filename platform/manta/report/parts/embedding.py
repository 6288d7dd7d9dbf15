"""Features made visible: nearest neighbours and a map in two dimensions."""

from __future__ import annotations

import math

import numpy as np

from manta.report.parts.samples import Array, Samples

NEIGHBOURS = 7
QUERIES = 8
_FEWEST_FOR_TSNE = 12


def normalise(features: Array) -> Array:
    """Return the rows at length 1, in float64; rows of zeros stay zero."""
    rows = features.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def trouble(features: Array, noun: str = "images") -> str | None:
    """Return why features cannot be shown, or None where they can."""
    if len(features) < 3:
        return f"there are fewer than three {noun}"
    if not np.isfinite(features).all():
        return "the features hold values that are not finite"
    if normalise(features).std(axis=0).max() < 1e-6:
        return "all features are the same: the encoder collapsed"
    return None


def queries(samples: Samples, count: int = QUERIES) -> Array:
    """Return rows of images to show, chosen without a look at how well they do.

    The first of each label, then the second of each, and so on, and last those that have none;
    evenly spaced without labels.
    """
    total = len(samples.thumbnails)
    if samples.labels is None:
        return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))
    labels = samples.labels
    latest: dict[int, int] = {}
    turn = np.empty(total, dtype=np.int64)
    for row, label in enumerate(labels.tolist()):
        turn[row] = latest[label] = latest.get(label, total if label < 0 else -1) + 1
    return np.lexsort((labels, turn))[:count]


def neighbours(features: Array, of: Array, count: int = NEIGHBOURS) -> Array:
    """Return the rows nearest by cosine to each row in `of`, without itself.

    `[len(of), k]`, the nearest first; k is `count`, or all others where there are fewer.
    """
    rows = normalise(features)
    similarity = rows[of] @ rows.T
    similarity[np.arange(len(of)), of] = -np.inf
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(count, len(rows) - 1)]


def agreement(labels: Array, of: Array, nearest: Array) -> float:
    """Return the fraction of the neighbours that share their query's label.

    Pairs of which one has no label do not count; NaN where there are no others.
    """
    queries = labels[of][:, None]
    both = (queries >= 0) & (labels[nearest] >= 0)
    return float((labels[nearest] == queries)[both].mean()) if both.any() else math.nan


def project(features: Array) -> Array:
    """Return a map of features: `[Q, D] -> [Q, 2]` in the unit square.

    t-SNE of the first 50 principal components of the normalised rows; of fewer than twelve rows,
    the first two components.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = normalise(features)
    if len(rows) < _FEWEST_FOR_TSNE or rows.shape[1] < 3:
        flat = PCA(min(2, rows.shape[1]), random_state=0).fit_transform(rows)
    else:
        kept = PCA(min(50, *rows.shape), random_state=0).fit_transform(rows)
        perplexity = min(30.0, (len(rows) - 1) / 3)
        flat = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(kept)
    if flat.shape[1] == 1:
        flat = np.hstack([flat, np.zeros_like(flat)])
    low, high = flat.min(axis=0), flat.max(axis=0)
    return np.asarray((flat - low) / np.where(high > low, high - low, 1.0))
