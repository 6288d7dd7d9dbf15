"""UniCon-HA: inliers gather, rotated outliers disperse, at every depth of the network.

Wang et al. 2023.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder, PyramidEncoder
from manta.errors import ConfigError
from manta.functional.outliers import unicon
from manta.functional.pretext import QUARTERS, quarter_turned
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._parts import check_square, mlp
from manta.schedules import value_of


class UniConHAConfig(ObjectiveConfig):
    """Settings of UniCon-HA (unilaterally aggregated contrast, hierarchical augmentation)."""

    name: Literal["unicon_ha"] = "unicon_ha"
    strengths: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.5, 1.0),
        min_length=1,
        description="of the two views that each of the last stages has; four in the paper",
    )
    stage_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="weight of each stage's loss in their sum; None: their mean"
    )
    outliers: int = Field(
        1, ge=1, le=3, description="quarter turns of each view, drawn at each step; 3 in the paper"
    )
    temperature: Temperature = Field(0.5, description="of the cosines")
    weight_temperature: float | None = Field(
        0.5, gt=0, description="of the inliers' weights at the last stage; None: all alike"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=256, out=128, layers=2), description="of each stage"
    )

    @model_validator(mode="after")
    def _a_weight_for_each_stage(self) -> UniConHAConfig:
        if self.stage_weights is not None and len(self.stage_weights) != len(self.strengths):
            raise ValueError(
                f"stage_weights are {len(self.stage_weights)}, "
                f"of {len(self.strengths)} strengths' stages"
            )
        return self


@OBJECTIVES.register("unicon_ha")
class UniConHA(Objective[UniConHAConfig]):
    """UniCon at several stages of the encoder, each with views of its own strength.

    The loss is the mean or weighted sum (eq. 9) over stages, each between two views of the stage's
    strength and their rotations. From the paper: four strengths at four stages of a ResNet, one
    head on each, inliers weighted at the last stage only, both temperatures 0.5.

    It is meant for data of one kind, in which unusual samples are to be detected; on data of many
    classes it draws them together, and the outliers' contrast is what tells them apart. Each sample
    is embedded 2 x strengths x (1 + outliers) times in a step: 8 times by default, 32 times in the
    paper.

    Ours: strengths are multiples of the preset, not the paper's lists of augmentations. The paper
    rotates the image and augments that twice (section 3.2); views come augmented here, so the views
    are rotated, both of an outlier by the same turn. An outlier therefore has the crops and colours
    of its inlier, so that only the turn tells them apart, and no image is augmented more than twice
    for a stage.
    """

    Config = UniConHAConfig
    family = "contrastive"
    paper = Paper(
        "Unilaterally Aggregated Contrastive Learning "
        "with Hierarchical Augmentation for Anomaly Detection",
        2023,
        "arXiv:2308.10155, ICCV 2023",
        source="S362",
    )
    exchange = Exchange.GATHER
    views = "4 global"
    slow_start = True

    def __init__(self, config: UniConHAConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        check_square(config.name, data.spec)
        stages = len(config.strengths)
        if not isinstance(encoder, PyramidEncoder) or len(encoder.stage_dims) < stages:
            raise ConfigError(
                f"objective.name=unicon_ha with {stages} strengths needs an encoder of {stages} "
                "stages, such as encoder.name=resnet18; or give fewer strengths"
            )
        # The last stage uses the encoder's own pooling, so that all of the encoder is trained.
        widths = (*encoder.stage_dims[-stages:-1], encoder.embed_dim)
        self.projectors = nn.ModuleList([mlp(width, config.projector) for width in widths])

    @property
    def needs(self) -> ViewNeeds:
        strengths = tuple(strength for strength in self.config.strengths for _ in range(2))
        return ViewNeeds(preset="simclr", global_views=len(strengths), strengths=strengths)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        # Any distinct turns of 1 to 3 quarters, the same for all views of a sample.
        config = self.config
        drawn = keyed_uniform(batch.index, progress, QUARTERS - 1).argsort(1)
        turns = drawn[:, : config.outliers] + 1
        images = [
            image
            for upright in (view.tensor for view in batch.global_views)
            for image in (upright, *(quarter_turned(upright, turn) for turn in turns.unbind(1)))
        ]
        maps, pooled = cast(PyramidEncoder, self.encoder).stage_maps(torch.cat(images))
        stages = [*(stage.mean((2, 3)) for stage in maps[-len(self.projectors) : -1]), pooled]
        places = torch.arange(len(batch) * (1 + config.outliers), device=pooled.device)
        inlier = places < len(batch)
        temperature = value_of(config.temperature, progress.step, progress.total_steps)
        losses = []
        for i, (features, projector) in enumerate(zip(stages, self.projectors, strict=True)):
            own_views = features.chunk(len(stages) * 2)[2 * i : 2 * i + 2]
            z_a, z_b = projector(torch.cat(own_views)).chunk(2)
            is_last = i == len(stages) - 1
            loss = unicon(
                z_a,
                z_b,
                inlier=inlier,
                temperature=temperature,
                weight_temperature=config.weight_temperature if is_last else None,
                inlier_keys=inlier.repeat(self.comm.world),
                **self.gathered(z_a, z_b),
            )
            losses.append(loss)
        terms = {f"stage_{i}": loss.detach() for i, loss in enumerate(losses)}
        of_stages = torch.stack(losses)
        weights = config.stage_weights or [1 / len(losses)] * len(losses)
        return {"loss": (of_stages * of_stages.new_tensor(weights)).sum(), **terms}
