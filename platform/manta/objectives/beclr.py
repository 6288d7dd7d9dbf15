"""BECLR: positives from a clustered memory beside the other view.

Poulakakis-Daktylidis & Jamali-Rad 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.groups import attraction, cluster_means, kmeans, nearest_in_memory
from manta.functional.transport import Total, sinkhorn
from manta.functional.uniformity import uniformity
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._bootstrap import matching
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._memory import Queue
from manta.objectives._parts import ema_update, mlp, momentum_copy
from manta.schedules import Cosine, Duration, steps, value_of


class BECLRConfig(ObjectiveConfig):
    """Settings of BECLR (batch-enhanced contrastive learning)."""

    name: Literal["beclr"] = "beclr"
    memory: int = Field(2048, ge=2, description="past embeddings of the teacher; 8192 in the paper")
    clusters: int = Field(64, ge=2, description="of the memory; 200 in the paper")
    neighbours: int = Field(3, ge=1, description="positives that a sample takes out of its cluster")
    start: Duration = Field(0.1, description="of the memory's use, as soon as it is full")
    epsilon: float = Field(
        0.05, ge=0.01, description="entropy's weight in the assignment of a batch to the clusters"
    )
    iterations: int = Field(3, ge=1, description="of Sinkhorn in that assignment")
    uniformity: float = Field(0.1, ge=0, description="weight of the term that spreads the batch")
    temperature: Temperature = Field(2.0, description="of the cosines that spread the batch")
    momentum: Momentum = Field(Cosine(start=0.99, end=1.0), description="of the teacher")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=256, layers=3, norm_out=True), description="as in SimSiam"
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=128, out=256, layers=2),
        description="head of one side, which predicts the other side's projection",
    )

    @model_validator(mode="after")
    def _fits(self) -> BECLRConfig:
        if self.memory < max(self.clusters, self.neighbours):
            raise ValueError(
                f"memory {self.memory} is below clusters {self.clusters} "
                f"or neighbours {self.neighbours}"
            )
        return self


@OBJECTIVES.register("beclr")
class BECLR(Objective[BECLRConfig]):
    """Attraction to the teacher's other view and its neighbours in a memory, and uniformity.

    The loss, the memory's clusters (k-means once it is full, optimal transport of each batch after
    that, means over members) and the search within a sample's own cluster are the paper's.

    Ours: one memory, the teacher's, whose neighbours are positives of the student's prediction (in
    the authors' code both sides are enlarged, and pairs of past embeddings have no gradient), and
    no masked images.
    """

    Config = BECLRConfig
    family = "non-contrastive"
    paper = Paper(
        "BECLR: Batch Enhanced Contrastive Few-Shot Learning",
        2024,
        "arXiv:2402.02444, ICLR 2024",
        source="S220",
    )
    keeps = ("teacher", "queue", "prototypes")
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: BECLRConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # The predictor's first BatchNorm removes a shift of the projections, but uniformity sees
        # it, so the last layer keeps its bias.
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.predictor = matching(config.predictor, self.projector)
        self.teacher = momentum_copy(nn.Sequential(encoder, self.projector))
        self.memory = ClusteredMemory(config, self.projector.out)
        # The teacher's rows and their clusters, of each micro-batch of the step.
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        predictions = self.predictor(torch.cat([z_a, z_b]))
        with torch.no_grad():
            targets = torch.cat(self.fused(self.teacher, batch.global_views)[::-1])
            positives, valid = self._positives(targets, progress)
        pull = attraction(predictions, positives, valid)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        spread = uniformity(
            z_a, z_b, temperature=temperature, **self.gathered(z_a, z_b), average=self.comm.mean
        )
        loss = pull + self.config.uniformity * spread
        return {"loss": loss, "attraction": pull.detach(), "uniformity": spread.detach()}

    def _positives(self, targets: Tensor, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return `[2B, 1 + k, D]`, each target and its neighbours, and which of them are valid."""
        labels = self.memory.assign(targets, self.comm.total)
        self._seen.append((targets, labels))
        own = targets.unsqueeze(1)
        valid = torch.ones(len(targets), 1, dtype=torch.bool, device=targets.device)
        started = progress.step >= steps(self.config.start, progress.total_steps)
        if not (started and self.memory.clustered):
            return own, valid
        near = nearest_in_memory(
            targets,
            self.memory.rows,
            count=self.config.neighbours,
            labels=labels,
            memory_labels=self.memory.labels,
        )
        positives = torch.cat([own, near.rows.to(own.dtype)], dim=1)
        return positives, torch.cat([valid, near.valid], dim=1)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, nn.Sequential(self.encoder, self.projector), momentum)
        # Sample by sample, so that the memory is the same whatever the number of ranks.
        targets = torch.cat([torch.stack(targets.chunk(2), dim=1) for targets, _ in self._seen])
        labels = torch.cat([torch.stack(labels.chunk(2), dim=1) for _, labels in self._seen])
        all_targets = self.comm.gather(targets).flatten(0, 1)
        self.memory.enter(all_targets, self.comm.gather(labels).flatten())
        self._seen.clear()


class ClusteredMemory(Queue):
    """Dynamic clustered memory (DyCE): a queue whose rows belong to clusters, once it is full."""

    centres: Tensor
    labels: Tensor
    clustered: Tensor

    def __init__(self, config: BECLRConfig, width: int) -> None:
        super().__init__(config.memory, width)
        self.epsilon, self.iterations = config.epsilon, config.iterations
        self.register_buffer("centres", self.rows[: config.clusters].clone())
        self.register_buffer("labels", torch.zeros(config.memory, dtype=torch.int64))
        self.register_buffer("clustered", torch.zeros((), dtype=torch.bool))

    def assign(self, rows: Tensor, total: Total) -> Tensor:
        """Return the clusters `[N]` of new rows, by optimal transport.

        The plan gives every cluster the same share of the global batch.
        """
        centres = F.normalize(self.centres, dim=1).to(rows.dtype)
        cosines = F.normalize(rows, dim=1) @ centres.T
        codes = sinkhorn(cosines, epsilon=self.epsilon, iterations=self.iterations, total=total)
        return codes.argmax(1)

    def enter(self, rows: Tensor, labels: Tensor) -> None:
        """Push rows with their clusters and update the clusters' means.

        The clusters are made by k-means when the memory is full for the first time; before that,
        rows only enter.
        """
        places = self.push(rows)
        if self.clustered:
            self.labels[places] = labels[-len(places) :]
            self.centres.copy_(cluster_means(self.rows, self.labels, self.centres))
        elif self.filled == len(self):
            centres, clusters = kmeans(self.rows, count=len(self.centres), iterations=10)
            self.centres.copy_(centres)
            self.labels.copy_(clusters)
            self.clustered.fill_(True)
