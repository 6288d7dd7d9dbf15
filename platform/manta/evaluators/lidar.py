"""Label-free: how many directions tell samples apart in spite of augmentation (LiDAR)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.functional.spectrum import lidar


class LiDARConfig(EvaluatorConfig):
    """What is embedded for it. The cost is `rows * views` images.

    Attributes:
        rows: of the queries, at most; the rank is below this number. The paper's 1,000 are better
            where time allows.
        views: of each row. The paper has 10 to 100.
        delta: added to the diagonal of the covariance within samples.
    """

    name: Literal["lidar"] = "lidar"
    rows: int = Field(500, ge=2)
    views: int = Field(10, ge=2)
    delta: float = Field(1e-4, gt=0)


@EVALUATORS.register("lidar")
class LiDAR(Evaluator[LiDARConfig]):
    """`lidar`, from augmented views of some query rows."""

    Config = LiDARConfig

    def views_wanted(self) -> tuple[int, int]:
        return self.config.rows, self.config.views

    def judge(self, features: Features) -> Scores:
        if features.views is None:
            return {}
        return {
            "lidar": lidar(
                features.views[: self.config.rows, : self.config.views], delta=self.config.delta
            )
        }
