"""MoCo: find a momentum teacher's key of the same sample among many.

He et al. 2020; Chen et al. 2020 and 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.info_nce import batch_nce, queue_nce
from manta.objectives._base import OBJECTIVES, Paper
from manta.objectives._bootstrap import matching, sees_shift
from manta.objectives._config import HeadConfig
from manta.objectives._momentum import KeyQueue, MomentumConfig, MomentumTeacher

PROJECTORS = {
    "v2": MomentumConfig.model_fields["projector"].default.model_dump(),
    "v3": HeadConfig(hidden=512, out=128, layers=2, norm_out=True).model_dump(),
}


class MoCoConfig(MomentumConfig):
    """Settings of MoCo (momentum contrast).

    What is not given of a projector is the version's own, and so is all of it if it is the other
    version's: that of v3 has BatchNorm everywhere. A search over versions starts from a recipe in
    which one of them is written out.
    """

    name: Literal["moco"] = "moco"
    version: Literal["v2", "v3"] = Field(
        "v2",
        description="v2: against a queue of past keys; v3: a predictor, against the batch's "
        "keys, without a queue",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2), description="head of v3's queries"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_the_version(cls, values: Any) -> Any:
        """Complete the projector by the version's own."""
        if not isinstance(values, Mapping):
            return values
        version, given = values.get("version", "v2"), values.get("projector")
        given = given.model_dump() if isinstance(given, HeadConfig) else given
        if version not in list(PROJECTORS) or not isinstance(given, Mapping | None):
            return values
        changed = {} if given is None or given in PROJECTORS.values() else given
        return {**values, "projector": PROJECTORS[version] | changed}


@OBJECTIVES.register("moco")
class MoCo(MomentumTeacher[MoCoConfig]):
    """Queries of the student against keys of the teacher, in both directions.

    Version 3 has the heads that its paper gives a ResNet, smaller; for a vision transformer the
    paper has a projector of three layers.

    Ours: version 2 keeps keys of both views, where in the paper the first view gives queries and
    the second keys.
    """

    Config = MoCoConfig
    family = "contrastive"
    paper = Paper(
        "Momentum Contrast for Unsupervised Visual Representation Learning",
        2020,
        "arXiv:1911.05722, CVPR 2020; v2 arXiv:2003.04297; v3 arXiv:2104.02057",
    )
    keeps = ("teacher", "queue")

    def __init__(self, config: MoCoConfig, encoder: Encoder, data: DataFacts) -> None:
        predicts = config.version == "v3"
        super().__init__(config, encoder, data, bias=not predicts or sees_shift(config.predictor))
        self.predictor = matching(config.predictor, self.projector) if predicts else nn.Identity()
        self.queue = None if predicts else KeyQueue(config.queue, self.projector.out)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol" if self.config.version == "v3" else "simclr")

    @property
    def student(self) -> nn.Sequential:
        return nn.Sequential(self.encoder, self.projector, self.predictor)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        pairs, temperature = self.pairs(batch), self.temperature(progress)
        if self.queue is None:
            offset = self.comm.rank * len(batch)
            losses = [
                batch_nce(q, self.comm.gather(k), temperature=temperature, offset=offset)
                for q, k in pairs
            ]
            # Scaled as in v3's algorithm 1.
            return {"loss": 2 * temperature * torch.stack(losses).sum()}
        self.queue.collect(*(key for _, key in pairs))
        losses = [queue_nce(q, k, self.queue.rows, temperature=temperature) for q, k in pairs]
        return {"loss": torch.stack(losses).mean()}

    def after_step(self, progress: Progress) -> None:
        super().after_step(progress)
        if self.queue is not None:
            self.queue.advance(self.comm.gather)
