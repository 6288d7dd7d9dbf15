"""Directions that tell samples apart in spite of augmentation (LiDAR), without labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._metrics import Metric
from manta.functional.spectrum import lidar


class LiDARConfig(EvaluatorConfig):
    """Settings of the views that are embedded; the cost is `rows * views` images."""

    name: Literal["lidar"] = "lidar"
    rows: int = Field(
        500,
        ge=2,
        description="queries used, at most, and the upper bound of the rank; 1,000 in the paper",
    )
    views: int = Field(10, ge=2, description="views of each row; 10 to 100 in the paper")
    delta: float = Field(
        1e-4, gt=0, description="added to the diagonal of the covariance within samples"
    )


METRICS = {
    "lidar": Metric(
        "LiDAR rank",
        "Directions that tell images apart, views aside.",
        better="higher",
        kind="factor",
        health=True,
        worst=1.0,
    ),
}


@EVALUATORS.register("lidar")
class LiDAR(Evaluator[LiDARConfig]):
    """Rank of the discriminant between samples: `lidar`, from views of some query rows."""

    Config = LiDARConfig
    title = "LiDAR"
    about = "How many directions tell images apart in spite of augmentation."
    metrics = METRICS

    def required_views(self) -> tuple[int, int]:
        return self.config.rows, self.config.views

    def evaluate(self, features: Features) -> Scores:
        if features.views is None:
            return {}
        return {
            "lidar": lidar(
                features.views[: self.config.rows, : self.config.views], delta=self.config.delta
            )
        }
