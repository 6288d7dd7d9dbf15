"""ScatSimCLR: SimCLR on a scattering network, which also recognises transformations.

Kinakh et al. 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.functional import nt_xent
from manta.functional.pretext import (
    QUADRANT_ORDERS,
    QUARTERS,
    classify,
    quadrants_shuffled,
    quarter_turned,
)
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import check_square, mlp
from manta.schedules import value_of

TASKS = {
    "rotation": (QUARTERS, quarter_turned),
    "jigsaw": (len(QUADRANT_ORDERS), quadrants_shuffled),
}


class ScatSimCLRConfig(ObjectiveConfig):
    """Settings of ScatSimCLR (SimCLR with a pretext task beside it)."""

    name: Literal["scatsimclr"] = "scatsimclr"
    pretext: Literal["rotation", "jigsaw"] = Field(
        "rotation", description="quarter turns, or orders of the quadrants"
    )
    weight: float = Field(
        0.2, gt=0, description="of the pretext task against the contrast; 0.3 in the authors' code"
    )
    temperature: Temperature = Field(0.5, description="of the cosines")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )
    classifier: HeadConfig = Field(
        HeadConfig(hidden=128, layers=2), description="its width out is the pretext's classes"
    )


@OBJECTIVES.register("scatsimclr")
class ScatSimCLR(Objective[ScatSimCLRConfig]):
    """NT-Xent between two views, and the class of the transformation of a third.

    The paper's encoder is a fixed scattering network with a small trainable adapter,
    `encoder.name=scatnet`; the objective takes any, as the paper does too. The third view is the
    authors', whose contrast is between the first two only.

    Ours: one drawn rotation of the third view, which is augmented already, where the authors rotate
    first, then augment, and classify all four rotations of each image; and a jigsaw of whole
    images, in the 24 orders of four quadrants, where theirs encodes nine patches one by one, in 35
    permutations.
    """

    Config = ScatSimCLRConfig
    family = "contrastive"
    paper = Paper(
        "ScatSimCLR: self-supervised contrastive learning "
        "with pretext task regularization for small-scale datasets",
        2021,
        "arXiv:2108.13939, ICCV workshops 2021",
        source="S072",
    )
    exchange = Exchange.GATHER
    views = "3 global"

    def __init__(self, config: ScatSimCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        check_square(config.name, data.spec)
        if config.pretext == "jigsaw" and data.image_size % 2:
            raise ConfigError(
                f"objective.pretext=jigsaw needs an even data.image_size, not {data.image_size}"
            )
        self.classes, self.transform = TASKS[config.pretext]
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.classifier = mlp(encoder.embed_dim, config.classifier, out=self.classes)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=3)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        first, second, third = (view.tensor for view in batch.global_views)
        drawn = (keyed_uniform(batch.index, progress, 1).squeeze(1) * self.classes).long()
        features = self.encoder(torch.cat([first, second, self.transform(third, drawn)]))
        z_a, z_b = self.projector(features[: 2 * len(batch)]).chunk(2)
        logits = self.classifier(features[2 * len(batch) :])
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        contrast = nt_xent(z_a, z_b, temperature=temperature, **self.gathered(z_a, z_b))
        pretext = classify(logits, drawn)
        accuracy = (logits.argmax(1) == drawn).float().mean()
        terms = {"contrast": contrast.detach(), "pretext": pretext.detach(), "accuracy": accuracy}
        return {"loss": contrast + self.config.weight * pretext, **terms}
