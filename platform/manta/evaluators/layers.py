"""Layer by layer: what each layer knows of the labels, and how near it is to the last one.

Pasad, Chou & Livescu 2021, "Layer-wise Analysis of a Self-supervised Speech Representation Model",
on images. Certain are its three tools: canonical correlation analysis weighted by projection
(Morcos, Raghu & Bengio 2018, "Insights on representational similarity in neural networks with
canonical correlation"), mutual information of labels and of clusters of the features, and a probe
of each layer.

Ours: a layer's features are its output's mean over positions; what it is compared with is the last
layer, as there are no filter banks or words; correlations are taken within the principal components
that hold most of the variance, since those of noise would be counted in full; information is a
fraction of the labels' entropy; and the probe is ridge regression on standardised features, whose
solution is exact.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from manta.encoders.layers import LayerReader
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import Metric, MetricFigure
from manta.evaluators._probe import standardise


class LayersConfig(EncoderEvaluatorConfig):
    """Settings of the layers and of their probes.

    The pooled features of all layers are held in memory.
    """

    name: Literal["layers"] = "layers"
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="submodules of the encoder; None: the stages or blocks that timm lists",
    )
    rows: int = Field(
        5_000,
        ge=2,
        description="of the bank that probes learn from and clusters are made of, at most",
    )
    query_rows: int = Field(
        2_000, ge=1, description="of the queries that probes are scored on, at most"
    )
    ridge: float = Field(1e-2, gt=0, description="the probe's penalty, as a multiple of the rows")
    variance: float = Field(
        0.99, gt=0, le=1, description="fraction of it that the components of the correlations hold"
    )
    clusters: int = Field(
        100, ge=2, description="of k-means, for the information; clipped to a tenth of the rows"
    )
    seed: int = Field(0, ge=0, description="of k-means")


METRICS = {
    "layers_best_top1": Metric(
        "Best layer's accuracy",
        "Of the layer that does best on a part of the bank.",
        short="Best layer",
        better="higher",
        kind="fraction",
    ),
    "layers_best_depth": Metric("Depth of the best layer", "0 is the first layer, 1 the last."),
    "layers_{layer}_top1": Metric(
        "{layer}, accuracy",
        "A ridge probe of the layer.",
        short="{layer}",
        better="higher",
        kind="fraction",
        one_of_many=True,
        figure="layers",
        line="accuracy of a probe",
    ),
    "layers_{layer}_information": Metric(
        "{layer}, information",
        "What clusters of the layer say about the classes: 0 nothing, 1 all.",
        short="{layer}",
        better="higher",
        one_of_many=True,
        figure="layers",
        line="information on the classes",
    ),
    "layers_{layer}_cca": Metric(
        "{layer}, likeness to the last layer",
        "0 unlike, 1 the same.",
        short="{layer}",
        one_of_many=True,
        figure="layers",
        line="likeness to the last",
    ),
}


FIGURES = {
    "layers": MetricFigure(
        "Layer by layer",
        "From the first layer to the last, between 0 and 1.",
        axis="layer",
        zero=True,
    ),
}


@EVALUATORS.register("layers")
class Layers(EncoderEvaluator[LayersConfig]):
    """Accuracy of each layer, `layers_<layer>_top1`, and how near it is to the last layer.

    `layers_<layer>_top1` is of a ridge probe, `layers_<layer>_information` is about the labels and
    `layers_<layer>_cca` with the last layer; `layers_best_top1` is of the layer that does best on a
    fifth of the bank, at the depth `layers_best_depth`, 0 the first and 1 the last. Without labels
    there is `cca` alone.
    """

    Config = LayersConfig
    title = "Layer by layer"
    about = "What each layer knows of the classes, and how near it is to the last one."
    metrics = METRICS
    figures = FIGURES

    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        config = self.config
        reader = LayerReader(access.encoder, config.layers)
        bank, labels = _read(access, reader, "bank", config.rows)
        *names, last = bank
        scores: dict[str, float | Tensor] = {
            f"layers_{name}_cca": pwcca(bank[name], bank[last], variance=config.variance)
            for name in names
        }
        if labels is None:
            return scores
        queries, truth = _read(access, reader, "queries", config.query_rows)
        if truth is None:
            return scores
        # Rows without a label count above, and not from here on.
        bank, labels = _labelled(bank, labels)
        queries, truth = _labelled(queries, truth)
        if len(torch.unique(labels)) < 2 or not len(truth):
            return scores
        top1 = []
        for name in bank:
            predicted = ridge(bank[name], labels, queries[name], penalty=config.ridge * len(labels))
            top1.append(predicted == truth)
            scores[f"layers_{name}_top1"] = top1[-1]
            scores[f"layers_{name}_information"] = information(
                bank[name],
                labels,
                clusters=min(config.clusters, max(len(labels) // 10, 2)),
                seed=config.seed,
            )
        best = int(np.argmax([self._held_out(rows, labels) for rows in bank.values()]))
        depth = best / max(len(top1) - 1, 1)
        return scores | {"layers_best_top1": top1[best], "layers_best_depth": depth}

    def _held_out(self, rows: Tensor, labels: Tensor) -> int:
        """Return how many of a fifth of the bank the probe of the others names correctly.

        The best layer is chosen by it, so that queries choose nothing.
        """
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.config.seed))
        fifth = max(len(rows) // 5, 1)
        held_out, others = order[:fifth], order[fifth:]
        penalty = self.config.ridge * len(others)
        predicted = ridge(rows[others], labels[others], rows[held_out], penalty=penalty)
        return int((predicted == labels[held_out]).sum())


def pwcca(x: Tensor, y: Tensor, *, variance: float) -> float:
    """Return the projection-weighted canonical correlation of `x: [N, D]` with `y: [N, E]`.

    It lies between 0 and 1: the canonical correlations' mean, each weighted by how much of x's
    features its variate holds.

    Args:
        variance: fraction that the principal components hold among which correlations are sought,
            on either side.

    Returns:
        NaN where a feature is not finite or none varies, or where both sides have more components
        together than there are rows to tell them apart: some correlations would be 1 whatever the
        features.
    """
    if not bool(x.isfinite().all() and y.isfinite().all()):
        return float("nan")
    x, y = (side.double() - side.double().mean(0) for side in (x, y))
    basis_x, basis_y = _components(x, variance), _components(y, variance)
    if (
        not basis_x.shape[1]
        or not basis_y.shape[1]
        or basis_x.shape[1] + basis_y.shape[1] >= len(x)
    ):
        return float("nan")
    directions, correlations, _ = torch.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
    weights = (x.T @ (basis_x @ directions)).abs().sum(0)
    return float((weights * correlations.clamp(0, 1)).sum() / weights.sum())


def ridge(bank: Tensor, labels: Tensor, queries: Tensor, *, penalty: float) -> Tensor:
    """Predict labels `[Q]` of `queries: [Q, D]` by ridge regression on `bank: [N, D]`.

    Features are standardised; each class is regressed on +-1.
    """
    x, standard = standardise(bank.double(), queries)
    classes, targets = torch.unique(labels, return_inverse=True)
    signs = torch.nn.functional.one_hot(targets, len(classes)).double() * 2 - 1
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(gram, x.T @ (signs - signs.mean(0)))
    scores = standard @ weight + signs.mean(0)
    predicted: Tensor = classes[scores.argmax(1)]
    return predicted


def information(features: Tensor, labels: Tensor, *, clusters: int, seed: int) -> float:
    """Return the mutual information of labels and k-means clusters of `[N, D]` features.

    It is a fraction of the labels' entropy, 0 to 1.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import homogeneity_score

    if not bool(features.isfinite().all()):
        return float("nan")
    means = MiniBatchKMeans(clusters, random_state=seed, n_init=3, batch_size=4096)
    return float(homogeneity_score(labels.numpy(), means.fit_predict(features.numpy())))


def _labelled(rows: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rows of every layer that have a label, and their labels."""
    kept = labels >= 0
    return {name: layer[kept] for name, layer in rows.items()}, labels[kept]


def _components(centred: Tensor, variance: float) -> Tensor:
    """Return an orthonormal basis `[N, d]` of the components that hold `variance` of the whole."""
    basis, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    zero = singular[0] * max(centred.shape) * torch.finfo(singular.dtype).eps
    singular = singular[singular > zero]
    held = singular.square().cumsum(0) / singular.square().sum()
    # The last component is that with which the fraction is reached.
    needed = int((held < variance - 1e-12).sum()) + 1
    components: Tensor = basis[:, : needed if len(singular) else 0]
    return components


def _read(
    access: EncoderAccess, reader: LayerReader, split: Literal["bank", "queries"], limit: int
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return the features of every layer, and labels, on the CPU."""
    by_layer: dict[str, list[Tensor]] = {name: [] for name in reader.modules}
    labels = []
    for data, truth in access.rows(split, limit):
        for name, output in reader(access.prepared(data)).items():
            by_layer[name].append(output.cpu())
        if truth is not None:
            labels.append(truth)
    features = {name: torch.cat(parts) for name, parts in by_layer.items()}
    return features, torch.cat(labels) if labels else None
