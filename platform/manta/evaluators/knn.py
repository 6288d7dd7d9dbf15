"""Weighted k nearest neighbours on frozen features.

Wu, Xiong, Yu & Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination"
(InstDisc), section 3.4, with the settings that DINO made common: cosine similarity, votes weighted
by `exp(similarity / T)`.
"""

from __future__ import annotations

import logging
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._labels import LabelCounts
from manta.evaluators._metrics import Metric

_log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]


class KNNConfig(EvaluatorConfig):
    """Settings of the nearest neighbours' vote."""

    name: Literal["knn"] = "knn"
    k: Count | Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        20,
        description="neighbours that vote, clipped to the bank's rows; of several, which take one "
        "pass, the first gives knn_top1",
    )
    temperature: float = Field(0.1, gt=0, description="of the votes' weights")
    chunk: int = Field(
        2048, ge=1, description="rows of queries and bank compared at a time; bounds the memory"
    )

    @property
    def counts(self) -> tuple[int, ...]:
        """Distinct k values, in order; the first names `knn_top1`."""
        return (self.k,) if isinstance(self.k, int) else tuple(dict.fromkeys(self.k))


METRICS = {
    "knn_top1": Metric(
        "kNN top-1 accuracy",
        "Images whose neighbours' vote names the class.",
        short="kNN",
        better="higher",
        kind="fraction",
        worst=0.0,
    ),
    "knn_top5": Metric(
        "kNN top-5 accuracy",
        "The class is among the five with most votes.",
        short="kNN, top 5",
        better="higher",
        kind="fraction",
    ),
    "knn{k:d}_top1": Metric(
        "kNN top-1 accuracy, k = {k}",
        "With k = {k}.",
        short="kNN, k = {k}",
        better="higher",
        kind="fraction",
    ),
    "knn{k:d}_top5": Metric(
        "kNN top-5 accuracy, k = {k}",
        "With k = {k}.",
        short="kNN, top 5, k = {k}",
        better="higher",
        kind="fraction",
    ),
}


@EVALUATORS.register("knn")
class KNN(Evaluator[KNNConfig]):
    """Accuracy of k nearest neighbours: `knn_top1`, and `knn_top5` with more than five classes.

    Of further k, `knn<k>_top1` and `_top5`.
    """

    Config = KNNConfig
    title = "Nearest neighbours (kNN)"
    about = (
        "Each image is given the class of most of its nearest neighbours. Nothing is trained, so "
        "it shows what the features hold by themselves."
    )
    metrics = METRICS
    needs_labels = True
    counts_queries = True

    def label_note(self, counts: LabelCounts) -> str | None:
        most = max(self.config.counts)
        if most <= counts.labelled_bank:
            return None
        return f"k={most} is more than the {counts.labelled_bank:,} labelled rows, which all vote"

    def evaluate(self, features: Features) -> Scores:
        return self.hits(features)

    def hits(self, features: Features) -> dict[str, Tensor]:
        """Return which queries were named correctly, `[Q]` bool by metric; none without labels."""
        labels, truth = features.bank_labels, features.query_labels
        if labels is None or truth is None:
            return {}
        config = self.config
        most = min(max(config.counts), len(features.bank))
        if most < max(config.counts):
            _log.warning(
                "knn: k=%d is clipped to the %d rows of the bank", max(config.counts), most
            )
        classes = int(torch.cat([labels, truth]).max()) + 1
        bank = F.normalize(features.bank.float(), dim=1)
        correct: dict[str, list[Tensor]] = {}
        for queries, answers in zip(
            torch.split(features.queries, config.chunk),
            torch.split(truth, config.chunk),
            strict=True,
        ):
            similarity, rows = nearest(
                F.normalize(queries.float(), dim=1), bank, k=most, chunk=config.chunk
            )
            near = labels[rows]
            for k in config.counts:
                votes = vote(
                    similarity[:, :k], near[:, :k], classes=classes, temperature=config.temperature
                )
                weight, ranked = votes.topk(min(5, classes), dim=1)
                # A class without a vote was not retrieved, even where it fills up the five.
                hits = (ranked == answers[:, None]) & (weight > 0)
                name = "knn" if k == config.counts[0] else f"knn{k}"
                correct.setdefault(f"{name}_top1", []).append(hits[:, 0])
                if classes > 5:
                    correct.setdefault(f"{name}_top5", []).append(hits.any(1))
        return {name: torch.cat(parts) for name, parts in correct.items()}


def nearest(queries: Tensor, bank: Tensor, *, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Find the `k` rows of `bank: [M, D]` with the largest inner product with each query.

    It is a running top-k over chunks of the bank: there is never a matrix `[Q, M]`.

    Args:
        queries: `[Q, D]`.

    Returns:
        similarities and row numbers, both `[Q, k]`, best first.
    """
    best = queries.new_full((len(queries), 0), 0)
    best_rows = torch.empty_like(best, dtype=torch.int64)
    for start in range(0, len(bank), chunk):
        similarity = queries @ bank[start : start + chunk].T
        rows = torch.arange(start, start + similarity.shape[1], device=bank.device).expand_as(
            similarity
        )
        candidates = torch.cat([best, similarity], dim=1)
        best, order = candidates.topk(min(k, candidates.shape[1]), dim=1)
        best_rows = torch.cat([best_rows, rows], dim=1).gather(1, order)
    return best, best_rows


def vote(similarity: Tensor, labels: Tensor, *, classes: int, temperature: float) -> Tensor:
    """Return `[Q, classes]`, the votes of each query's neighbours, up to a factor.

    Each neighbour adds `exp(similarity / temperature)` to its class.

    Args:
        similarity, labels: `[Q, k]`, best first.
    """
    # The best neighbour's weight is 1, so that a small temperature cannot overflow.
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    return weights.new_zeros(len(weights), classes).scatter_add_(1, labels, weights)
