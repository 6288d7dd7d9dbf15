"""Dimensions that share the variance of frozen features (NESum), without labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.evaluators._base import (
    EVALUATORS,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    subsample,
)
from manta.evaluators._metrics import Metric
from manta.functional.geometry import nesum


class NESumConfig(EvaluatorConfig):
    """Which rows it is taken from."""

    name: Literal["nesum"] = "nesum"
    rows: int = Field(4096, ge=2, description="of the queries, at most; it is below their number")
    seed: int = Field(0, ge=0, description="of the draw of rows")


METRICS = {
    "nesum": Metric(
        "Shared variance (NESum)",
        "Dimensions that share the variance.",
        better="higher",
        kind="factor",
        health=True,
        worst=1.0,
    ),
}


@EVALUATORS.register("nesum")
class NESum(Evaluator[NESumConfig]):
    """Dimensions that share the variance: `nesum`.

    From 1 where features lie on a line to the number of dimensions where they are white.
    """

    Config = NESumConfig
    title = "Shared variance"
    about = "How many dimensions share the variance of the features."
    metrics = METRICS

    def evaluate(self, features: Features) -> Scores:
        return {
            "nesum": nesum(subsample(features.queries, self.config.rows, seed=self.config.seed))
        }
