"""Label-free health of frozen features: their effective rank and their spread."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.functional.spectrum import feature_std, rankme


class RankConfig(EvaluatorConfig):
    """`rows`: of the queries, at most; the rank of fewer rows than dimensions is bounded by the
    rows."""

    name: Literal["rank"] = "rank"
    rows: int = Field(4096, ge=2)


@EVALUATORS.register("rank")
class Rank(Evaluator[RankConfig]):
    """`rankme` and `feature_std`."""

    Config = RankConfig

    def judge(self, features: Features) -> Scores:
        queries = features.queries[: self.config.rows]
        return {"rankme": rankme(queries), "feature_std": feature_std(queries)}
