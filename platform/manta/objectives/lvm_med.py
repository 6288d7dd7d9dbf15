"""LVM-Med: match the graph of one view of the batch to the graph of the other.

Nguyen et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.matching import Penalty, match_graphs, vertex_affinity
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._feature_maps import map_dim, pooled_and_map, pooled_cells
from manta.objectives._parts import mlp
from manta.ragged import Data, joined


class LVMMedConfig(ObjectiveConfig):
    """Settings of LVM-Med (second-order graph matching)."""

    name: Literal["lvm_med"] = "lvm_med"
    global_weight: float = Field(
        0.8, ge=0, le=1, description="of pooled cosines; those of cells have the rest"
    )
    cells: int = Field(
        2,
        ge=1,
        description="along a side of the map, for cosines of cells; all of 7 x 7 in the paper",
    )
    neighbours: int = Field(5, ge=1, description="edges at each vertex of a graph")
    edge_weight: float = Field(0.5, ge=0, description="of edges against vertices, in the matching")
    edge_loss: float = Field(
        1.0, ge=0, description="weight of the edges' penalty against the vertices'"
    )
    penalty: Penalty = Field(
        "cross_entropy", description="of a wrong matching; hamming in the paper"
    )
    rounds: int = Field(
        1, ge=0, description="of matching by edges too, after one by vertices alone"
    )
    epsilon: float = Field(
        0.05, gt=0, description="entropy's weight in the matching; near 0 it is a permutation"
    )
    iterations: int = Field(5, ge=1, description="of Sinkhorn in each matching")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )
    local_projector: HeadConfig = Field(
        HeadConfig(hidden=256, out=64, layers=2), description="of the map's cells"
    )


@OBJECTIVES.register("lvm_med")
class LVMMed(Objective[LVMMedConfig]):
    """The error of a second-order matching of two views, on samples and on pairs of neighbours.

    The two graphs, vertices by global and local cosines, edges by differences of neighbours, are
    the paper's; so is, with penalty=hamming, the loss, the share that is matched wrongly. Every
    rank matches the whole global batch.

    Ours: the default penalty is cross-entropy, minus the mean log-probability of the right
    matching. The paper solves a linear program and estimates its gradient as of a black box; here
    graduated assignment, a Sinkhorn relaxation, finds a soft matching whose gradient is exact, so
    that the loss is smooth and ranks and precisions agree on it.
    """

    Config = LVMMedConfig
    family = "contrastive"
    paper = Paper(
        "LVM-Med: Learning Large-Scale Self-Supervised Vision Models for Medical Imaging "
        "via Second-order Graph Matching",
        2023,
        "arXiv:2306.11925, NeurIPS 2023",
        source="S017",
    )
    exchange = Exchange.GATHER

    def __init__(self, config: LVMMedConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.local_projector = mlp(map_dim(encoder, "lvm_med"), config.local_projector)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        config = self.config
        z, cells = self._project(joined([view.data for view in batch.global_views]))
        z_a, z_b = self._everyones(z)
        cells_a, cells_b = self._everyones(cells)
        vertices = vertex_affinity(z_a, z_b, cells_a, cells_b, global_weight=config.global_weight)
        terms = match_graphs(
            vertices,
            z_a,
            z_b,
            neighbours=config.neighbours,
            edge_weight=config.edge_weight,
            rounds=config.rounds,
            epsilon=config.epsilon,
            iterations=config.iterations,
            penalty=config.penalty,
        )
        loss = terms.vertices + config.edge_loss * terms.edges
        return {"loss": loss} | {name: term.detach() for name, term in terms._asdict().items()}

    def _project(self, x: Data) -> tuple[Tensor, Tensor]:
        """Return projections `[2B, D]` and of cells `[2B, T, E]`."""
        features = pooled_and_map(self.encoder, x)
        cells = pooled_cells(features.map, self.config.cells).flatten(2).mT
        pooled = self.projector(features.pooled)
        local = self.local_projector(cells.flatten(0, 1)).unflatten(0, cells.shape[:2])
        return pooled, local

    def _everyones(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return every rank's rows of both views."""
        a, b = self.comm.gather(torch.stack(rows.chunk(2), dim=1)).unbind(1)
        return a, b
