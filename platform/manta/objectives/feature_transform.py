"""Feature Transformation: MoCo with pairs pushed apart and negatives blended.

Zhu et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, Progress
from manta.functional.info_nce import info_nce, transformed_scores
from manta.keyed import keyed_beta, keyed_order
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._config import Temperature
from manta.objectives._momentum import MomentumConfig, MomentumQueue


class FeatureTransformConfig(MomentumConfig):
    """Settings of Feature Transformation."""

    name: Literal["feature_transform"] = "feature_transform"
    temperature: Temperature = Field(0.1, description="of the scores; 0.07 in MoCo v1, 0.2 in v2")
    extrapolation: float | None = Field(
        2.0,
        gt=0,
        description="a of the weight 1 + Beta(a, a) that pushes a pair apart; None: unchanged",
    )
    interpolation: float | None = Field(
        1.6,
        gt=0,
        description="a of the weight Beta(a, a) of a negative against another; None: unchanged",
    )


@OBJECTIVES.register("feature_transform")
class FeatureTransform(MomentumQueue[FeatureTransformConfig]):
    """MoCo v2 on transformed features: harder positives, and negatives that are always new.

    As in the authors' code, the extrapolated query meets the negatives too, and nothing is
    normalised again. One weight is drawn for a pair and one for a negative; the authors' last
    ablation draws one for each dimension.
    """

    Config = FeatureTransformConfig
    family = "contrastive"
    paper = Paper(
        "Improving Contrastive Learning by Visualizing Feature Transformation",
        2021,
        "arXiv:2108.02982, ICCV 2021",
        source="S023",
    )
    slow_start = True

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        config, rows = self.config, self.queue.rows
        places = torch.arange(len(rows), device=rows.device)
        weights: Tensor | None = None
        if config.extrapolation is not None:
            weights = 1 + keyed_beta(batch.index, progress, 2, alpha=config.extrapolation)
        blending: Tensor | None = None
        if config.interpolation is not None:
            drawn = keyed_beta(places, progress, 1, alpha=config.interpolation, salt=1)
            blending = drawn.squeeze(1)
        order = keyed_order(places, progress, salt=2)
        scores = [
            transformed_scores(
                q,
                k,
                rows,
                extrapolation=None if weights is None else weights[:, direction],
                interpolation=blending,
                order=order,
            )
            for direction, (q, k) in enumerate(self.pairs(batch))
        ]
        losses = [info_nce(*pair, temperature=self.temperature(progress)) for pair in scores]
        positive, negative = (
            torch.stack([pair[part].detach().mean() for pair in scores]).mean() for part in (0, 1)
        )
        return {"loss": torch.stack(losses).mean(), "positive": positive, "negative": negative}
