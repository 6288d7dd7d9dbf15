"""Effective rank and spread of frozen features, without labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._metrics import Metric
from manta.functional.spectrum import feature_std, rankme


class RankConfig(EvaluatorConfig):
    """Settings of the effective rank."""

    name: Literal["rank"] = "rank"
    rows: int = Field(
        4096,
        ge=2,
        description="queries used, at most; with fewer rows than dimensions they bound the rank",
    )


METRICS = {
    "rankme": Metric(
        "Effective rank (RankMe)",
        "How many dimensions the features use; those of random weights fill many too.",
        better="higher",
        kind="factor",
        health=True,
        worst=1.0,
    ),
    "feature_std": Metric(
        "Spread of features",
        "1 is even over the sphere, 0 is collapsed.",
        better="higher",
        health=True,
    ),
}


@EVALUATORS.register("rank")
class Rank(Evaluator[RankConfig]):
    """Effective rank of the features and their spread: `rankme` and `feature_std`."""

    Config = RankConfig
    title = "Rank and spread"
    about = "How many directions the features use, and how evenly they fill the sphere."
    metrics = METRICS

    def evaluate(self, features: Features) -> Scores:
        queries = features.queries[: self.config.rows]
        return {"rankme": rankme(queries), "feature_std": feature_std(queries)}
