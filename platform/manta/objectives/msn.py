"""MSN: predict the prototypes of the whole image from a few patches or a small crop.

Assran et al. 2022.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder, TokenEncoder
from manta.errors import ConfigError
from manta.functional.prototypes import msn_terms, sharpened
from manta.functional.transport import sinkhorn
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._distilled import WaitingPrototypes
from manta.objectives._exchange import Exchange
from manta.objectives._parts import ema_update, masked_encoder, mlp, momentum_copy
from manta.ragged import Data
from manta.schedules import Cosine, Duration, value_of


class MSNConfig(ObjectiveConfig):
    """Settings of MSN (masked siamese networks)."""

    name: Literal["msn"] = "msn"
    local_views: int = Field(
        2, ge=0, description="small crops, further anchors that are not masked; 10 in the paper"
    )
    mask_ratio: float = Field(
        0.7,
        gt=0,
        lt=1,
        description="of the patches, hidden from the large anchor; 0.15 (ViT-S) to 0.7 (ViT-L)",
    )
    temperature: Temperature = Field(0.1, description="of the anchors' prototypes")
    target_temperature: Temperature = Field(
        0.025, description="of the targets'; below the anchors'"
    )
    entropy: float = Field(1.0, ge=0, description="weight of the entropy of the mean prediction")
    freeze: Duration = Field(
        0.05, description="start of the run in which the prototypes stay as drawn; 0 in the paper"
    )
    iterations: int | None = Field(
        3,
        ge=1,
        description="of Sinkhorn, which balances the targets, as in the authors' code; None: none",
    )
    momentum: Momentum = Field(
        Cosine(start=0.95, end=1.0), description="of the teacher; 0.996 at first in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm="layer", activation="gelu"),
        description="2048 wide in the paper, with BatchNorm, which ignores the shifts of a "
        "transformer's last norm",
    )
    prototypes: int = Field(256, ge=2, description="1024 in the paper")


@OBJECTIVES.register("msn")
class MSN(Objective[MSNConfig]):
    """Masked and small anchors of the student against the whole target view of the teacher.

    One direction: the first global view is the target, the second the masked anchor. The prototypes
    are the student's; a hidden patch costs nothing. The teacher is exported. The entropy term does
    not by itself keep samples apart where a batch has fewer of them than there are prototypes, so
    targets are balanced by default.
    """

    Config = MSNConfig
    family = "distillation"
    paper = Paper(
        "Masked Siamese Networks for Label-Efficient Learning", 2022, "arXiv:2204.07141, ECCV 2022"
    )
    views = "2 global + 2 local, masked"
    keeps = ("teacher", "prototypes")
    exchange = Exchange.STATISTICS
    slow_start = True

    def __init__(self, config: MSNConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        masked_encoder(config.name, encoder, config.mask_ratio)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.prototypes = WaitingPrototypes(self.projector.out, config.prototypes)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.projector))

    @property
    def needs(self) -> ViewNeeds:
        grid = cast(TokenEncoder, self.encoder).grid
        config = self.config
        return ViewNeeds(
            "multicrop",
            local_views=config.local_views,
            mask_ratio=config.mask_ratio,
            mask_grid=grid,
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        self.prototypes.wait(self.config.freeze, progress)
        target, masked = batch.global_views
        with torch.no_grad():
            codes = self._codes(self.prototypes(self.teacher(target.data)), progress)
        features = [self._visible(masked.data, masked.mask)]
        if batch.local_views:
            features += self.fused(self.encoder, batch.local_views)
        cosines = self.prototypes(self.projector(torch.cat(features)))
        anchors = cosines.unflatten(0, (len(features), -1))
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        terms = msn_terms(anchors, codes, temperature=temperature, average=self.comm.mean)
        loss = terms.prediction - self.config.entropy * terms.entropy
        return {"loss": loss} | {name: term.detach() for name, term in terms._asdict().items()}

    def _codes(self, cosines: Tensor, progress: Progress) -> Tensor:
        """Return the targets' codes `[N, K]`, sharpened, and balanced over all ranks' samples."""
        temperature = value_of(self.config.target_temperature, progress.step, progress.total_steps)
        if self.config.iterations is None:
            return sharpened(cosines, temperature=temperature)
        return sinkhorn(
            cosines, epsilon=temperature, iterations=self.config.iterations, total=self.comm.total
        )

    def _visible(self, data: Data, mask: Tensor | None) -> Tensor:
        """Return features `[N, D]`, pooled over the patches that are not hidden."""
        if mask is None:
            raise ConfigError(
                "msn was given a view without a mask; build the views from the objective's `needs`"
            )
        encoder = cast(TokenEncoder, self.encoder)
        return encoder.pool(encoder.tokens(data, (~mask).nonzero()[:, 1].view(len(mask), -1)))

    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, nn.Sequential(self.encoder, self.projector), momentum)

    @property
    def exported(self) -> Encoder:
        return cast(Encoder, self.teacher[0])
