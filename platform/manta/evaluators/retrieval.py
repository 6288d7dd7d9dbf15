"""Retrieval of rows of the bank that have a query's class, by cosine similarity.

recall@k is that of metric learning (Jegou et al. 2011; Oh Song et al. 2016): the fraction of
queries with a row of their class among the k nearest. mAP is over the whole ranking of the bank, as
in image retrieval (Philbin et al. 2007).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._metrics import Metric, MetricFigure


class RetrievalConfig(EvaluatorConfig):
    """What is counted."""

    name: Literal["retrieval"] = "retrieval"
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5, 10), min_length=1, description="rows that are looked at"
    )
    similarities: int = Field(
        2**23, ge=1, description="sorted at a time; bounds the memory, to one query's at least"
    )


METRICS = {
    "retrieval_recall{k:d}": Metric(
        "Recall at {k}",
        "Images with one of their class among the {k} nearest.",
        better="higher",
        kind="fraction",
        figure="recall",
        at="{k}",
        line="recall",
    ),
    "retrieval_map": Metric(
        "Mean average precision",
        "How far up the ranking its class stands.",
        short="mAP",
        better="higher",
        kind="fraction",
        worst=0.0,
    ),
}


FIGURES = {
    "recall": MetricFigure(
        "Recall over what is looked at",
        "Share of images with at least one of their class among the nearest.",
        axis="nearest images",
    ),
}


@EVALUATORS.register("retrieval")
class Retrieval(Evaluator[RetrievalConfig]):
    """Recall among the k nearest, `retrieval_recall<k>`, and mean precision, `retrieval_map`.

    Queries whose class is not in the bank are left out.
    """

    Config = RetrievalConfig
    title = "Retrieval"
    about = "Whether the most similar images are of the same class."
    metrics = METRICS
    figures = FIGURES
    needs_labels = True
    counts_queries = True

    def evaluate(self, features: Features) -> Scores:
        labels, truth = features.bank_labels, features.query_labels
        if labels is None or truth is None:
            return {}
        findable = torch.isin(truth, labels)
        queries, truth = F.normalize(features.queries[findable].float(), dim=1), truth[findable]
        bank = F.normalize(features.bank.float(), dim=1)
        finite = bool(queries.isfinite().all()) and bool(bank.isfinite().all())
        scores: dict[str, list[Tensor]] = {
            name: [] for name in (*(f"retrieval_recall{k}" for k in self.config.k), "retrieval_map")
        }
        if not finite or not len(queries):
            return dict.fromkeys(scores, float("nan"))
        chunk = max(1, self.config.similarities // len(bank))
        for part, answers in zip(
            torch.split(queries, chunk), torch.split(truth, chunk), strict=True
        ):
            relevant = labels[(part @ bank.T).argsort(dim=1, descending=True)] == answers[:, None]
            for k in self.config.k:
                scores[f"retrieval_recall{k}"].append(relevant[:, :k].any(dim=1))
            scores["retrieval_map"].append(average_precision(relevant))
        return {name: torch.cat(parts) for name, parts in scores.items()}


def average_precision(relevant: Tensor) -> Tensor:
    """Return `[Q]`, the mean over a query's relevant rows of the precision down to each.

    Args:
        relevant: `[Q, M]` bool, best first.
    """
    ranks = torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    precision = relevant.cumsum(1).double() / ranks
    return (precision * relevant).sum(1) / relevant.sum(1)
