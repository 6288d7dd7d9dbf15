"""iSogCLR: contrastive learning with one trained temperature per sample (Qiu et al. 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.temperature import isogclr, temperature_step
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._memory import SampleTable
from manta.objectives._parts import mlp
from manta.schedules import value_of


class ISogCLRConfig(ObjectiveConfig):
    """Settings of iSogCLR (individualised optimisation of a global contrastive loss)."""

    name: Literal["isogclr"] = "isogclr"
    rho: float = Field(
        0.3, ge=0, description="cost of temperature: the greater, the lower temperatures become"
    )
    gamma: float = Field(
        0.9, gt=0, le=1, description="weight of the newest batch in a sample's moving average"
    )
    temperature: float = Field(0.1, gt=0, description="of a sample that was never seen")
    temperature_min: float = Field(0.05, gt=0, description="lowest that a sample can have")
    temperature_max: float = Field(0.7, gt=0, description="highest that a sample can have")
    temperature_lr: float = Field(0.01, ge=0, description="learning rate of the temperatures")
    temperature_momentum: Momentum = Field(
        0.1, description="how much of its velocity a temperature keeps"
    )
    temperature_clip: float = Field(
        3.0, gt=0, description="largest gradient that a temperature follows"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )

    @model_validator(mode="after")
    def _range_holds_the_start(self) -> ISogCLRConfig:
        if not self.temperature_min <= self.temperature <= self.temperature_max:
            raise ValueError(
                f"temperature {self.temperature:g} is not between temperature_min "
                f"{self.temperature_min:g} and temperature_max {self.temperature_max:g}"
            )
        return self


@OBJECTIVES.register("isogclr")
class ISogCLR(Objective[ISogCLRConfig]):
    """The robust global contrastive loss, with an average and a temperature kept for each sample.

    As in the authors' code one average and one temperature serve both anchors of a sample.

    Ours: a sample's first batch starts its average, where the authors' code takes the first epoch
    for that.
    """

    Config = ISogCLRConfig
    family = "contrastive"
    paper = Paper(
        "Not All Semantics are Created Equal: Contrastive Self-supervised Learning "
        "with Automatic Temperature Individualization",
        2023,
        "arXiv:2305.11965, ICML 2023",
        source="S375",
    )
    exchange = Exchange.GATHER
    keeps = ("per-sample state",)

    def __init__(self, config: ISogCLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        # Columns: temperature, its velocity, log of the moving average. A temperature of 0 marks a
        # sample that was never seen.
        self.samples = SampleTable(data.rows, 3)
        self._updates: list[tuple[Tensor, Tensor]] = []  # one for each micro-batch of the step

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        config = self.config
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        temperature, velocity, log_average = self.samples.read(batch.index).unbind(1)
        seen = temperature > 0
        temperature = torch.where(seen, temperature, config.temperature)
        terms = isogclr(
            z_a,
            z_b,
            temperature=temperature,
            log_average=log_average,
            seen=seen,
            gamma=config.gamma,
            rho=config.rho,
            **self.gathered(z_a, z_b),
        )
        updated = temperature_step(
            temperature,
            velocity,
            terms.gradient,
            lr=config.temperature_lr,
            momentum=value_of(config.temperature_momentum, progress.step, progress.total_steps),
            clip=config.temperature_clip,
            low=config.temperature_min,
            high=config.temperature_max,
        )
        self._updates.append((batch.index, torch.stack([*updated, terms.log_average], dim=1)))
        return {"loss": terms.loss, "temperature": temperature.mean()}

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        index, values = (
            self.comm.gather(torch.cat(parts)) for parts in zip(*self._updates, strict=True)
        )
        self.samples.write(index, values)
        self._updates.clear()
