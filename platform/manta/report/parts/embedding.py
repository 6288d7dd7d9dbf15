"""What a page shows of features: nearest neighbours and a map in two dimensions."""

from __future__ import annotations

import numpy as np

from manta.report.parts.samples import Array, Samples

NEIGHBOURS = 7
QUERIES = 8
_FEWEST_FOR_TSNE = 12


def normalise(features: Array) -> Array:
    """Rows of length 1, float64; zero rows stay zero."""
    rows = features.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def trouble(features: Array) -> str | None:
    """Why features cannot be looked at, or None."""
    if len(features) < 3:
        return "there are fewer than three images"
    if not np.isfinite(features).all():
        return "the features hold values that are not finite"
    if normalise(features).std(axis=0).max() < 1e-6:
        return "all features are the same: the encoder collapsed"
    return None


def queries(samples: Samples, wanted: int = QUERIES) -> Array:
    """Images to show, not chosen by how well they do: the first ones of each label in turn, or
    evenly spaced."""
    total = len(samples.thumbnails)
    if samples.labels is None:
        return np.unique(np.linspace(0, total - 1, min(wanted, total)).round().astype(np.int64))
    labels = samples.labels
    seen: dict[int, int] = {}
    turn = np.empty(total, dtype=np.int64)
    for place, label in enumerate(labels.tolist()):
        turn[place] = seen[label] = seen.get(label, -1) + 1
    return np.lexsort((labels, turn))[:wanted]


def neighbours(features: Array, of: Array, wanted: int = NEIGHBOURS) -> Array:
    """`[len(of), k]` rows nearest by cosine, best first, without the row itself."""
    rows = normalise(features)
    similarity = rows[of] @ rows.T
    similarity[np.arange(len(of)), of] = -np.inf
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(wanted, len(rows) - 1)]


def agreement(labels: Array, of: Array, found: Array) -> float:
    """Fraction of neighbours that share their query's label."""
    return float((labels[found] == labels[of][:, None]).mean())


def project(features: Array) -> Array:
    """`[Q, D] -> [Q, 2]` in the unit square: principal components, then t-SNE of their normalised
    rows."""
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
