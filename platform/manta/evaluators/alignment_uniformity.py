"""Alignment of views and uniformity of samples on the sphere, without labels.

Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and
Uniformity on the Hypersphere". Both are lower for better features, and only together: a collapse is
perfectly aligned. Certain are the two equations with alpha = t = 2. Ours: alignment is taken over
all pairs of views, and uniformity from plain images.
"""

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
from manta.functional.geometry import alignment, hypersphere_uniformity


class AlignmentUniformityConfig(EvaluatorConfig):
    """What is embedded and compared. Alignment costs `pairs * views` images."""

    name: Literal["alignment_uniformity"] = "alignment_uniformity"
    pairs: int = Field(1000, ge=1, description="of the queries whose views are compared, at most")
    views: int = Field(2, ge=2, description="of each of them; every pair of its views counts")
    rows: int = Field(
        4096,
        ge=2,
        description="of the queries that uniformity is taken from, at most; quadratic in time",
    )
    alpha: float = Field(2.0, gt=0, description="power of the distance between views")
    t: float = Field(2.0, gt=0, description="sharpness of the Gaussian potential between rows")
    chunk: int = Field(
        1024,
        ge=1,
        description="rows that are compared with all others at a time; bounds the memory",
    )
    seed: int = Field(0, ge=0, description="of the draw of rows")


METRICS = {
    "alignment": Metric(
        "Alignment",
        "Distance between views of the same image; 0 is none.",
        better="lower",
        health=True,
    ),
    "uniformity": Metric(
        "Uniformity",
        "How unevenly images cover the sphere; 0 is all alike.",
        better="lower",
        health=True,
    ),
}


@EVALUATORS.register("alignment_uniformity")
class AlignmentUniformity(Evaluator[AlignmentUniformityConfig]):
    """Alignment of augmented views and uniformity of query rows: `alignment`, `uniformity`."""

    Config = AlignmentUniformityConfig
    title = "Alignment and uniformity"
    about = (
        "How near augmented views of an image are, and how evenly images cover the sphere. Only "
        "the two together say something: features that collapsed are perfectly aligned."
    )
    metrics = METRICS

    def required_views(self) -> tuple[int, int]:
        return self.config.pairs, self.config.views

    def evaluate(self, features: Features) -> Scores:
        if features.views is None or len(features.queries) < 2:
            return {}
        config = self.config
        views = features.views[: config.pairs, : config.views]
        rows = subsample(features.queries, config.rows, seed=config.seed)
        return {
            "alignment": alignment(views, alpha=config.alpha),
            "uniformity": hypersphere_uniformity(rows, t=config.t, chunk=config.chunk),
        }
