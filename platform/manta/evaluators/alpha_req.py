"""Decay of the eigenspectrum of frozen features (alpha-ReQ), without labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from manta.evaluators._base import (
    EVALUATORS,
    Evaluator,
    EvaluatorConfig,
    Features,
    Scores,
    subsample,
)
from manta.evaluators._metrics import Metric
from manta.functional.spectrum import LEAST_POINTS, alpha_req


class AlphaReQConfig(EvaluatorConfig):
    """Settings of the power law's fit."""

    name: Literal["alpha_req"] = "alpha_req"
    rows: int = Field(4096, ge=2, description="queries used, at most, drawn at random")
    first: int = Field(4, ge=1, description="rank of the first eigenvalue of the fit, from 1")
    last: int = Field(100, ge=1, description="rank of the last eigenvalue of the fit, included")
    seed: int = Field(0, ge=0, description="of the draw of rows")

    @model_validator(mode="after")
    def _range_ascends(self) -> AlphaReQConfig:
        if self.last - self.first + 1 < LEAST_POINTS:
            raise ValueError(
                f"last must be {self.first + LEAST_POINTS - 1} or more: "
                f"a fit takes {LEAST_POINTS} points"
            )
        return self


METRICS = {
    "alpha_req": Metric(
        "Decay of the spectrum (α-ReQ)",
        "Exponent of the power law of variance.",
        better="near 1",
        health=True,
        optimised_as="alpha_req_gap",
    ),
    "alpha_req_gap": Metric(
        "Distance of the decay from 1",
        "How far the exponent is from 1.",
        better="lower",
        worst=10.0,
    ),
}


@EVALUATORS.register("alpha_req")
class AlphaReQ(Evaluator[AlphaReQConfig]):
    """Exponent of the spectrum's decay, `alpha_req`, and its distance from 1, `alpha_req_gap`."""

    Config = AlphaReQConfig
    title = "Decay of the spectrum"
    about = "How fast the variance falls from the first direction to the later ones."
    metrics = METRICS

    def evaluate(self, features: Features) -> Scores:
        config = self.config
        queries = subsample(features.queries, config.rows, seed=config.seed)
        alpha = alpha_req(queries, first=config.first, last=config.last)
        return {"alpha_req": alpha, "alpha_req_gap": abs(alpha - 1)}
