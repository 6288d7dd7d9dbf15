"""MOKD: two different encoders teach themselves and each other (Song et al. 2023)."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder, EncoderConfig
from manta.encoders import build as build_encoder
from manta.errors import ConfigError
from manta.functional import dino
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._distilled import Centre, distilled
from manta.objectives._exchange import Exchange
from manta.objectives._feature_maps import map_dim, pooled_and_map
from manta.objectives._parts import Prototypes, ema_update, mlp, momentum_copy
from manta.ragged import Data, joined
from manta.schedules import Constant, Cosine, value_of


class MOKDConfig(ObjectiveConfig):
    """Settings of MOKD (multi-mode online knowledge distillation)."""

    name: Literal["mokd"] = "mokd"
    partner: EncoderConfig = Field(
        EncoderConfig(
            name="vit_tiny_patch16_224",
            stem="small",
            args={"embed_dim": 64, "depth": 2, "num_heads": 2},
        ),
        description="the other encoder, of another family than the first; small by default",
    )
    cross: float = Field(1.0, ge=0, description="weight of what the encoders teach each other")
    local_views: int = Field(
        0, ge=0, description="small crops, which only the students see; 8 in the paper's code"
    )
    student_temperature: Temperature = Field(0.1, description="of the students' prototypes")
    teacher_temperature: Temperature = Field(
        Constant(at=0.07, warmup=0.3, warmup_from=0.04),
        description="of the teachers'; below the students'",
    )
    center_momentum: float = Field(0.9, ge=0, lt=1, description="of the teachers' centres")
    momentum: Momentum = Field(
        Cosine(start=0.99, end=1.0), description="of the teachers; 0.996 at first in the paper"
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3, norm=None, activation="gelu"),
        description="of all four heads",
    )
    prototypes: int = Field(1024, ge=2, description="of each head; 65536 in the paper")
    transformer_dim: int = Field(64, ge=4, description="width of the transformer heads")
    transformer_depth: int = Field(
        1, ge=1, description="blocks of the transformer heads; 3 in the paper's code"
    )
    transformer_heads: int = Field(4, ge=1, description="attention heads of the transformer heads")

    @model_validator(mode="after")
    def _heads_divide(self) -> MOKDConfig:
        if self.transformer_dim % self.transformer_heads:
            raise ValueError(
                f"transformer_dim {self.transformer_dim} is no multiple "
                f"of transformer_heads {self.transformer_heads}"
            )
        return self


class Outputs(NamedTuple):
    """Outputs of one encoder and its heads for some views, one entry per view.

    Attributes:
        mlp: logits `[B, K]` of the MLP head.
        transformer: logits `[B, K]` of the transformer head.
        tokens: `[B, T, W]`, inputs of the transformer head.
    """

    mlp: list[Tensor]
    transformer: list[Tensor]
    tokens: list[Tensor]


@OBJECTIVES.register("mokd")
class MOKD(Objective[MOKDConfig]):
    """Each student against its own teacher, and against the other encoder's.

    From the authors' main_mokd.py and models/mokd.py: two encoders trained together, each with a
    momentum teacher, an MLP head and a transformer head; DINO's loss of both heads within the
    encoders, of the MLP heads across them. In place of the transformer heads' loss across stands
    the search. A student's query, detached, joins the cells that the other's teacher has of the
    first global view; the output of that teacher's head, the mean over the cells without the query,
    is the target, uncentred, of the student's plain transformer head. Queries are of local views
    only: the mean cell of a convolutional network, the class token of a transformer. No gradient
    passes between the encoders.

    Ours: without local views each global view searches the other one; a transformer's query is its
    mean cell too, since not every encoder has a class token; the transformer heads add no positions
    and end in the MLP projector; all terms weigh alike except for `cross`, one weight for both
    encoders (theirs: 1, and 0.1 for the transformer). A map of one cell leaves its head nothing but
    the query to attend to. The first encoder's teacher is exported; the partner's stays in the
    checkpoint.
    """

    Config = MOKDConfig
    family = "distillation"
    paper = Paper(
        "Multi-Mode Online Knowledge Distillation "
        "for Self-Supervised Visual Representation Learning",
        2023,
        "arXiv:2304.06461, CVPR 2023",
        source="S111",
    )
    keeps = ("teacher", "prototypes")
    exchange = Exchange.STATISTICS
    slow_start = True

    def __init__(self, config: MOKDConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        try:
            self.partner = build_encoder(config.partner, data.spec)
        except ConfigError as error:
            # An error names the key as `encoder.name`; here it is `objective.partner.name`.
            message = str(error)
            colon = "" if message.startswith("encoder") else ": "
            key = f"objective.partner{colon}"
            raise ConfigError(key + message.removeprefix("encoder")) from error
        self.heads = nn.ModuleList(Heads(each, config) for each in (encoder, self.partner))
        self.teacher, self.partner_teacher = momentum_copy(encoder), momentum_copy(self.partner)
        self.teacher_heads = momentum_copy(self.heads)
        self.mlp_centres, self.transformer_centres = (
            nn.ModuleList(Centre(config.prototypes, config.center_momentum) for _ in range(2))
            for _ in range(2)
        )

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="multicrop", local_views=self.config.local_views)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        with torch.no_grad():
            teachers = self._see(
                (self.teacher, self.partner_teacher), self.teacher_heads, [batch.global_views]
            )
            centres = zip(self.mlp_centres, self.transformer_centres, strict=True)
            for outputs, (mlp_centre, transformer_centre) in zip(teachers, centres, strict=True):
                cast(Centre, mlp_centre).collect(outputs.mlp)
                cast(Centre, transformer_centre).collect(outputs.transformer)
        students = self._see(
            (self.encoder, self.partner), self.heads, [batch.global_views, batch.local_views]
        )
        own_losses, cross_losses = [], []
        mlps, transformers = self.mlp_centres, self.transformer_centres
        for i, student in enumerate(students):
            teacher, j = teachers[i], 1 - i
            other = teachers[j]
            own_losses += [
                self._distilled(teacher.mlp, student.mlp, mlps[i], progress),
                self._distilled(
                    teacher.transformer, student.transformer, transformers[i], progress
                ),
            ]
            cross_losses += [
                self._distilled(other.mlp, student.mlp, mlps[j], progress),
                self._searched(student, other, self.teacher_heads[j], progress),
            ]
        own, cross = torch.stack(own_losses).mean(), torch.stack(cross_losses).mean()
        loss = own + self.config.cross * cross
        return {"loss": loss, "self": own.detach(), "cross": cross.detach()}

    def _see(
        self, encoders: tuple[Encoder, Encoder], heads: nn.ModuleList, sizes: list[list[View]]
    ) -> list[Outputs]:
        """Return the outputs of both encoders, given the views in lists of one size each."""
        outputs_of_both = []
        for encoder, head in zip(encoders, heads, strict=True):
            outputs = Outputs([], [], [])
            for views in filter(None, sizes):
                parts = cast(Heads, head)(encoder, joined([view.data for view in views]))
                for field, part in zip(outputs, parts, strict=True):
                    field.extend(part.chunk(len(views)))
            outputs_of_both.append(outputs)
        return outputs_of_both

    def _distilled(
        self, targets: list[Tensor], seen: list[Tensor], centre: nn.Module, progress: Progress
    ) -> Tensor:
        """Return DINO's loss with this step's temperatures."""
        return distilled(
            targets,
            seen,
            cast(Centre, centre),
            progress,
            student_temperature=self.config.student_temperature,
            teacher_temperature=self.config.teacher_temperature,
        )

    def _searched(
        self, student: Outputs, teacher: Outputs, head: nn.Module, progress: Progress
    ) -> Tensor:
        """Return the loss of a student's transformer head against a search of the teacher's cells.

        The student's own queries search the cells of the other encoder's teacher.
        """
        large = range(len(teacher.tokens))
        local = range(len(large), len(student.tokens))
        pairs = [(0, j) for j in local] or [(i, j) for i in large for j in large if i != j]
        logits = torch.cat([student.transformer[j] for _, j in pairs])
        queries = torch.cat([student.tokens[j].mean(1) for _, j in pairs])
        cells = torch.cat([teacher.tokens[i] for i, _ in pairs])
        target = cast(Heads, head).search(queries, cells)
        at = (progress.step, progress.total_steps)
        return dino(
            logits,
            target,
            student_temperature=value_of(self.config.student_temperature, *at),
            teacher_temperature=value_of(self.config.teacher_temperature, *at),
            center=target.new_zeros(target.shape[1]),
        )

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.partner_teacher, self.partner, momentum)
        ema_update(self.teacher_heads, self.heads, momentum)
        for centre in (*self.mlp_centres, *self.transformer_centres):
            cast(Centre, centre).advance(self.comm.mean)

    @property
    def exported(self) -> Encoder:
        return self.teacher


class Heads(nn.Module):
    """Two heads of an encoder: an MLP on its pooled vector, a transformer on its map's cells."""

    def __init__(self, encoder: Encoder, config: MOKDConfig) -> None:
        super().__init__()
        width = config.transformer_dim
        self.mlp = _logits(encoder.embed_dim, config)
        self.embed = nn.Linear(map_dim(encoder, "mokd"), width)
        heads, depth = config.transformer_heads, config.transformer_depth
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.transformer = _logits(width, config)

    def forward(self, encoder: Encoder, x: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fields of `Outputs` for views `[N, C, *space]`."""
        features = pooled_and_map(encoder, x)
        tokens = self.embed(features.map.flatten(2).mT)
        logits = self.transformer(self.norm(self.blocks(tokens)).mean(1))
        return self.mlp(features.pooled), logits, tokens

    @torch.no_grad()
    def search(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return logits `[B, K]` of tokens `[B, T, W]` that also attend to another student's query.

        The query is `[B, W]`.

        The output at the query itself is left out: a target must not repeat the student that
        searches.
        """
        attended = self.blocks(torch.cat([query.unsqueeze(1), tokens], dim=1))
        logits: Tensor = self.transformer(self.norm(attended[:, 1:]).mean(1))
        return logits


def _logits(width: int, config: MOKDConfig) -> nn.Sequential:
    """Build an MLP projector followed by prototypes."""
    projector = mlp(width, config.projector)
    return nn.Sequential(projector, Prototypes(projector.out, config.prototypes))
