"""SwAV: predict which prototypes another view is assigned to, with all prototypes used alike.

Caron et al. 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.prototypes import swapped_prediction
from manta.functional.transport import sinkhorn
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._distilled import WaitingPrototypes
from manta.objectives._exchange import Exchange
from manta.objectives._memory import Queue
from manta.objectives._parts import mlp
from manta.schedules import Duration, steps, value_of


class SwAVConfig(ObjectiveConfig):
    """Settings of SwAV (swapping assignments between views)."""

    name: Literal["swav"] = "swav"
    local_views: int = Field(
        2, ge=0, description="small crops, which predict but are not assigned; 6 in the paper"
    )
    temperature: Temperature = Field(0.1, description="of the predicted prototypes")
    epsilon: float = Field(
        0.02,
        ge=0.01,
        description="weight of the assignments' entropy; the paper's 0.05 is soft for short runs",
    )
    iterations: int = Field(3, ge=1, description="of Sinkhorn")
    prototypes: int = Field(512, ge=2, description="3000 in the paper")
    freeze: Duration = Field(
        0.05,
        description="start of the run in which the prototypes stay as drawn; an epoch in the paper",
    )
    queue: int | None = Field(
        3840,
        ge=1,
        description="past samples assigned too, for batches far smaller than the prototypes",
    )
    queue_from: Duration = Field(
        0.1, description="start of the queue's use; epoch 15 of 200 in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2, norm_out=True),
        description="2048 wide in the paper, not normalised",
    )


@OBJECTIVES.register("swav")
class SwAV(Objective[SwAVConfig]):
    """Every view against the assignment of every other global view.

    Assignments balance the prototypes over all ranks' samples, one view at a time.

    Ours: the queue helps before it is full; projections are normalised over the batch, without
    which all samples start with the same prototypes; and assignments are harder than the paper's.
    """

    Config = SwAVConfig
    family = "clustering"
    paper = Paper(
        "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        2020,
        "arXiv:2006.09882, NeurIPS 2020",
    )
    views = "2 global + 2 local"
    keeps = ("prototypes", "queue")
    exchange = Exchange.GATHER

    def __init__(self, config: SwAVConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.prototypes = WaitingPrototypes(self.projector.out, config.prototypes)
        self.queue = None if config.queue is None else Queue(config.queue, 2 * self.projector.out)
        # Both global views' projections, side by side, of each micro-batch of the step.
        self._seen: list[Tensor] = []

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="multicrop", local_views=self.config.local_views)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        self.prototypes.wait(self.config.freeze, progress)
        model = nn.Sequential(self.encoder, self.projector)
        z = self.fused(model, batch.global_views)
        with torch.no_grad():
            codes = [self._codes(z[view], view, progress) for view in range(2)]
            self._seen.append(torch.cat(z, dim=1))
        if batch.local_views:
            z += self.fused(model, batch.local_views)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        losses = [
            swapped_prediction(self.prototypes(seen), code, temperature=temperature)
            for i, code in enumerate(codes)
            for j, seen in enumerate(z)
            if i != j
        ]
        return {"loss": torch.stack(losses).mean()}

    def _codes(self, z: Tensor, view: int, progress: Progress) -> Tensor:
        """Return the codes of one view's rows, balanced over all ranks' and the queue's rows.

        The queue takes part from `queue_from` on.
        """
        rows, config = z, self.config
        started = progress.step >= steps(config.queue_from, progress.total_steps)
        if self.queue is not None and started:
            past = self.queue.rows[: int(self.queue.filled)].chunk(2, dim=1)[view]
            # The queue is the same on all ranks: each adds its share of it.
            rows = torch.cat([z, past[self.comm.rank :: self.comm.world].to(z.dtype)])
        codes = sinkhorn(
            self.prototypes(rows),
            epsilon=config.epsilon,
            iterations=config.iterations,
            total=self.comm.total,
        )
        return codes[: len(z)]

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        if self.queue is not None:
            self.queue.push(self.comm.gather(torch.cat(self._seen)))
        self._seen.clear()
