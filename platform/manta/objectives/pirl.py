"""PIRL: an image and its jigsaw puzzle resemble one memory (Misra & van der Maaten 2020)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.functional.pirl import jigsaw_patches, memory_nce
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._memory import SampleTable
from manta.objectives._parts import check_square, mlp
from manta.schedules import value_of

SMALLEST_PATCH = 24
"""Least side in pixels: smaller inputs reach the last stage of stride-32 encoders as one pixel."""


class PIRLConfig(ObjectiveConfig):
    """Settings of PIRL (pretext-invariant representations)."""

    name: Literal["pirl"] = "pirl"
    temperature: Temperature = Field(0.07, description="of the cosines")
    lambda_: float = Field(
        0.5, ge=0, le=1, description="weight of the puzzle against the whole image"
    )
    momentum: Momentum = Field(
        0.5, description="what a sample's memory keeps of itself when the sample is seen again"
    )
    target: Literal["before", "after"] = Field(
        "before",
        description="memory before (the paper's) or after taking in a sample's present image",
    )
    negatives: int = Field(
        4096, ge=1, description="memories of others that are drawn for a step; 32000 in the paper"
    )
    grid: int = Field(3, ge=2, description="patches along a side of the puzzle")
    patch_share: float = Field(
        0.75, gt=0, le=1, description="side of a patch over that of its cell; 64 of 85 pixels"
    )
    patch_size: int | None = Field(
        None,
        ge=4,
        description="side that patches are resized to; None: the cell's to a multiple of 16, at "
        "least 24",
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="of the image; all three are linear in the paper",
    )
    patch_projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=1), description="of each patch"
    )
    puzzle_projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="of all patches; its out is the image projector's",
    )


@OBJECTIVES.register("pirl")
class PIRL(Objective[PIRLConfig]):
    """The whole first view and the second as a shuffled puzzle, against the sample's memory.

    The memory of a sample, an average of its past projections, is one row of a table that holds
    every sample, so it is found in whatever order samples come, which a queue could not do. A
    sample never seen is random as a negative, as the paper's bank is at its start.

    Ours: where there is no memory of a sample yet, its present image is taken for it, to which the
    image itself cannot come nearer.
    """

    Config = PIRLConfig
    family = "contrastive"
    paper = Paper(
        "Self-Supervised Learning of Pretext-Invariant Representations",
        2020,
        "arXiv:1912.01991, CVPR 2020",
        source="S177",
    )
    exchange = Exchange.GATHER
    keeps = ("per-sample state",)
    slow_start = True
    noise: Tensor

    def __init__(self, config: PIRLConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        check_square(config.name, data.spec)
        self.projector = mlp(encoder.embed_dim, config.projector)
        width, cells = self.projector.out, config.grid**2
        # The puzzle's projector can shift in its place, so the last layer has no bias.
        self.patch_projector = mlp(encoder.embed_dim, config.patch_projector, bias=False)
        puzzle_width = cells * self.patch_projector.out
        self.puzzle_projector = mlp(puzzle_width, config.puzzle_projector, out=width)
        self.memory = SampleTable(data.rows, width)
        self.register_buffer("noise", F.normalize(torch.randn(config.negatives, width), dim=1))
        cell = data.image_size // config.grid
        self.patch_size = config.patch_size or max(SMALLEST_PATCH, cell // 16 * 16)
        # Indexes and memories of each micro-batch of the step.
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        image, puzzle = batch.global_views
        f = upcast(self.projector(self.encoder(image.data)))
        g = upcast(self._solve(puzzle, batch.index, progress))
        before, after = self._memories(batch.index, f.detach(), progress)
        self._seen.append((batch.index, after))
        target = after if self.config.target == "after" else before
        bank, own = self._drawn(batch.index, progress)
        at = value_of(self.config.temperature, progress.step, progress.total_steps)
        of_image, of_puzzle = (
            memory_nce(z, target, bank, temperature=at, excluded=own) for z in (f, g)
        )
        weight = self.config.lambda_
        loss = weight * of_puzzle + (1 - weight) * of_image  # eq. 5
        return {"loss": loss, "image": of_image.detach(), "puzzle": of_puzzle.detach()}

    def _solve(self, view: View, index: Tensor, progress: Progress) -> Tensor:
        """Return `[B, D]` of each sample's patches, in an order drawn for it."""
        grid, cells = self.config.grid, self.config.grid**2
        drawn = keyed_uniform(index, progress, 3 * cells)
        offsets, order = drawn[:, cells:].view(-1, cells, 2), drawn[:, :cells].argsort(1)
        patches = jigsaw_patches(
            view.tensor,
            offsets.to(view.tensor.dtype),
            grid=grid,
            share=self.config.patch_share,
            size=self.patch_size,
        )
        projected = self.patch_projector(self.encoder(patches.flatten(0, 1)))
        parts = projected.view(len(index), cells, -1)
        shuffled = parts.gather(1, order.unsqueeze(2).expand_as(parts))
        puzzle: Tensor = self.puzzle_projector(shuffled.flatten(1))
        return puzzle

    def _memories(self, index: Tensor, f: Tensor, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return memories `[B, D]` before this step, and after taking the projections f in.

        Where there was no memory yet, the one before is f.
        """
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        now, stored = F.normalize(f, dim=1), self.memory.read(index).to(f)
        # A row of zeros marks a sample without a memory.
        before = torch.where(stored.any(1, keepdim=True), stored, now)
        return before, F.normalize(torch.lerp(now, before, momentum), dim=1)

    def _drawn(self, index: Tensor, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return memories `[K, D]` of drawn samples, and `[B, K]` bool where they are one's own."""
        places = torch.arange(self.config.negatives)
        drawn = (keyed_uniform(places, progress, 1, salt=1).squeeze(1) * len(self.memory)).long()
        bank = self.memory.read(drawn).to(self.noise)
        bank = torch.where(bank.any(1, keepdim=True), bank, self.noise)
        return bank, index.unsqueeze(1) == drawn.to(index.device)

    def after_step(self, progress: Progress) -> None:
        index, memory = (
            self.comm.gather(torch.cat(part)) for part in zip(*self._seen, strict=True)
        )
        self._seen.clear()
        self.memory.write(index, memory)
