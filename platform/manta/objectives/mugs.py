"""Mugs: tell apart instances, local groups of neighbours, and groups, at the same time.

Zhou et al. 2022.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.groups import nearest_in_memory
from manta.functional.info_nce import queue_nce
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._distilled import Centre, distilled, other_views
from manta.objectives._exchange import Exchange
from manta.objectives._momentum import KeyQueue
from manta.objectives._parts import Prototypes, ema_update, mlp, momentum_copy
from manta.schedules import Constant, Cosine, value_of


class MugsConfig(ObjectiveConfig):
    """Settings of Mugs (multi-granular self-supervision)."""

    name: Literal["mugs"] = "mugs"
    local_views: int = Field(
        2, ge=0, description="small crops, which only the student sees; 10 in the paper"
    )
    instance: float = Field(1.0, ge=0, description="weight of the loss that tells instances apart")
    local_group: float = Field(
        1.0, ge=0, description="weight of the loss that tells local groups apart"
    )
    group: float = Field(1.0, ge=0, description="weight of the loss over prototypes")
    temperature: Temperature = Field(
        0.2, description="of the cosines of instances and local groups"
    )
    queue: int = Field(
        4096,
        ge=1,
        description="past instances, and past local groups, as negatives; 65536 in the paper",
    )
    memory: int = Field(
        4096, ge=1, description="past features among which neighbours are looked for; 65536"
    )
    neighbours: int = Field(8, ge=1, description="in a local group, beside the sample itself")
    aggregator_dim: int = Field(
        64, ge=4, description="width of the transformer over a local group; the encoder's"
    )
    aggregator_depth: int = Field(2, ge=1, description="its blocks")
    aggregator_heads: int = Field(4, ge=1, description="its attention heads")
    student_temperature: Temperature = Field(0.1, description="of the student's prototypes")
    teacher_temperature: Temperature = Field(
        Constant(at=0.07, warmup=0.3, warmup_from=0.04),
        description="of the teacher's; below the student's",
    )
    center_momentum: float = Field(0.9, ge=0, lt=1, description="of the teacher's centre")
    prototypes: int = Field(1024, ge=2, description="65536 in the paper")
    momentum: Momentum = Field(
        Cosine(start=0.99, end=1.0), description="of the teacher; 0.996 at first in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm=None, activation="gelu"),
        description="of each loss its own",
    )
    predictor: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2, norm=None, activation="gelu"),
        description="of the first two losses",
    )

    @model_validator(mode="after")
    def _fits(self) -> MugsConfig:
        if self.aggregator_dim % self.aggregator_heads:
            raise ValueError(
                f"aggregator_dim {self.aggregator_dim} is not a multiple "
                f"of aggregator_heads {self.aggregator_heads}"
            )
        if self.neighbours > self.memory:
            raise ValueError(f"{self.neighbours} neighbours do not fit a memory of {self.memory}")
        return self


class Granules(NamedTuple):
    """Outputs to compare for some views, a list each, with `[B, ...]` of every view."""

    features: list[Tensor]
    instances: list[Tensor]
    local_groups: list[Tensor]
    groups: list[Tensor]


@OBJECTIVES.register("mugs")
class Mugs(Objective[MugsConfig]):
    """Every view's student against every other global view's teacher, at three granularities.

    From the authors' code: the heads without BatchNorm, the predictors, the queues of the teacher's
    instances and local groups, the neighbours from a memory, a transformer over a sample and its
    neighbours, DINO's loss for groups, and weights of 1. The teacher is exported.

    Ours: neighbours are found by the pooled vector (the patches' mean there), the memory holds the
    teacher's unit vectors, and all pairs of views weigh alike.
    """

    Config = MugsConfig
    family = "distillation"
    paper = Paper(
        "Mugs: A Multi-Granular Self-Supervised Learning Framework",
        2022,
        "arXiv:2203.14415",
        source="S011",
    )
    views = "2 global + 2 local"
    keeps = ("teacher", "queue", "prototypes")
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: MugsConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.heads = Heads(encoder.embed_dim, config)
        self.instance_predictor = mlp(self.heads.out, config.predictor, out=self.heads.out)
        group = self.heads.local_group.out
        self.group_predictor = mlp(group, config.predictor, out=group)
        self.teacher = momentum_copy(encoder)
        self.teacher_heads = momentum_copy(self.heads)
        self.memory = KeyQueue(config.memory, encoder.embed_dim)
        self.instances = KeyQueue(config.queue, self.heads.out)
        self.local_groups = KeyQueue(config.queue, group)
        self.centre = Centre(config.prototypes, config.center_momentum)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="multicrop", local_views=self.config.local_views)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            teacher = self._granules(self.teacher, self.teacher_heads, [batch.global_views])
            self._collect(teacher)
        student = self._granules(self.encoder, self.heads, [batch.global_views, batch.local_views])
        temperature = value_of(config.temperature, progress.step, progress.total_steps)
        instance = _contrast(
            teacher.instances,
            student.instances,
            self.instance_predictor,
            self.instances.rows,
            temperature,
        )
        local_group = _contrast(
            teacher.local_groups,
            student.local_groups,
            self.group_predictor,
            self.local_groups.rows,
            temperature,
        )
        group = distilled(
            teacher.groups,
            student.groups,
            self.centre,
            progress,
            student_temperature=config.student_temperature,
            teacher_temperature=config.teacher_temperature,
        )
        loss = config.instance * instance + config.local_group * local_group + config.group * group
        terms = {"instance": instance, "local_group": local_group, "group": group}
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def _granules(self, encoder: nn.Module, heads: Heads, sizes: list[list[View]]) -> Granules:
        """Return the outputs of views in lists of one size each; heads take all of them at once."""
        features = [feature for views in sizes if views for feature in self.fused(encoder, views)]
        rows = torch.cat(features)
        near = nearest_in_memory(rows, self.memory.rows, count=self.config.neighbours).rows
        granules = heads(rows, near.to(rows.dtype))
        return Granules(features, *(list(granule.chunk(len(features))) for granule in granules))

    def _collect(self, teacher: Granules) -> None:
        """Remember the teacher's outputs for the queues, the memory and the centre."""
        for queue, rows in (
            (self.memory, teacher.features),
            (self.instances, teacher.instances),
            (self.local_groups, teacher.local_groups),
        ):
            queue.collect(*(F.normalize(upcast(row), dim=1) for row in rows))
        self.centre.collect(teacher.groups)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_heads, self.heads, momentum)
        for queue in (self.memory, self.instances, self.local_groups):
            queue.advance(self.comm.gather)
        self.centre.advance(self.comm.mean)

    @property
    def exported(self) -> Encoder:
        return self.teacher


def _contrast(
    targets: list[Tensor],
    seen: list[Tensor],
    predictor: nn.Module,
    queue: Tensor,
    temperature: float,
) -> Tensor:
    """Return the InfoNCE loss of the predictions, mean over the pairs of `other_views`."""
    predictions = predictor(F.normalize(torch.cat(seen), dim=1)).chunk(len(seen))
    losses = [
        queue_nce(view, target, queue, temperature=temperature)
        for target, view in other_views(targets, predictions)
    ]
    return torch.stack(losses).mean()


class Heads(nn.Module):
    """The modules that student and teacher have on the encoder.

    Three projectors, an aggregator, and prototypes.
    """

    def __init__(self, width: int, config: MugsConfig) -> None:
        super().__init__()
        self.instance = mlp(width, config.projector)
        self.out = self.instance.out
        self.aggregator = Aggregator(width, config)
        self.local_group = mlp(config.aggregator_dim, config.projector)
        projector = mlp(width, config.projector)
        self.group = nn.Sequential(projector, Prototypes(projector.out, config.prototypes))

    def forward(self, features: Tensor, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return instances `[N, out]`, local groups `[N, out]` and logits `[N, K]`.

        Args:
            features: `[N, D]`.
            near: neighbours `[N, k, D]`.
        """
        return (
            self.instance(features),
            self.local_group(self.aggregator(features, near)),
            self.group(features),
        )


class Aggregator(nn.Module):
    """A transformer over a sample and its neighbours, `[N, D], [N, k, D] -> [N, width]`.

    The output is that of the sample's own token.
    """

    def __init__(self, width: int, config: MugsConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(width, config.aggregator_dim)
        dim, heads, depth = config.aggregator_dim, config.aggregator_heads, config.aggregator_depth
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor, near: Tensor) -> Tensor:
        group = F.normalize(torch.cat([features.unsqueeze(1), near], dim=1), dim=2)
        return cast(Tensor, self.norm(self.blocks(self.embed(group))[:, 0]))
