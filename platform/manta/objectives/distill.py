"""Feature distillation: an encoder learns to predict the features of a trained, often larger one.

Romero et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder, load_saved
from manta.errors import ConfigError
from manta.functional import negative_cosine, upcast
from manta.functional.distillation import hint
from manta.materials import Material, ModelMaterial
from manta.modalities.image.views import IMAGENET_MEAN, IMAGENET_STD
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._parts import mlp


class DistillConfig(ObjectiveConfig):
    """Settings of feature distillation."""

    name: Literal["distill"] = "distill"
    model: str = Field(description="the teacher: the name of a run, a registered model or a folder")
    loss: Literal["cosine", "mse"] = Field(
        "cosine", description="mse also teaches the length of the features"
    )
    standardise: bool = Field(
        True,
        description="standardise each of the teacher's dimensions over the batch; "
        "without it their common mean dominates",
    )
    head: HeadConfig = Field(
        HeadConfig(hidden=512, layers=2), description="its width out is the teacher's"
    )


@OBJECTIVES.register("distill")
class Distill(Objective[DistillConfig]):
    """A head on the encoder against a frozen teacher's features of the same view.

    The teacher sees the view as it saw its own training images: of its size, and normalised as they
    were. Regression of a teacher's features through a trained head is FitNets'; that teacher and
    student see one view is as Beyer et al. 2022 (arXiv:2106.05237) found best.

    Ours: the cosine, since lengths vary between teachers, and the standardised features, without
    which a teacher whose features are mostly their mean teaches little else.
    """

    Config = DistillConfig
    family = "distillation"
    paper = Paper("FitNets: Hints for Thin Deep Nets", 2015, "arXiv:1412.6550, ICLR 2015")
    views = "1 global"
    keeps = ("another model",)
    scale: Tensor
    shift: Tensor

    def __init__(self, config: DistillConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        if not data.spec.is_image:
            raise ConfigError(
                "objective.name=distill prepares images for its teacher, and data.modality gives "
                f"{data.spec}; choose another objective"
            )
        teacher, preprocess, _ = load_saved(data.materials["teacher"])
        self.teacher = teacher.requires_grad_(False).eval()
        standardised = nn.BatchNorm1d(teacher.embed_dim, affine=False)
        self.norm = standardised if config.standardise else nn.Identity()
        self.teacher_size = int(preprocess["image_size"])
        self.head = mlp(encoder.embed_dim, config.head, out=teacher.embed_dim)
        own_colours = (data.mean or IMAGENET_MEAN, data.std or IMAGENET_STD)
        mean, std, their_mean, their_std = (
            torch.tensor(colour).view(3, 1, 1)
            for colour in (*own_colours, preprocess["mean"], preprocess["std"])
        )
        # One affine map takes the run's normalised pixels to the teacher's.
        self.register_buffer("scale", std / their_std, persistent=False)
        self.register_buffer("shift", (mean - their_mean) / their_std, persistent=False)

    @classmethod
    def materials(cls, config: DistillConfig) -> Mapping[str, Material]:
        return {"teacher": ModelMaterial(config.model)}

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr", global_views=1)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules but the teacher, which stays in evaluation mode.

        A user of the teacher would use it so.
        """
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.global_views
        student, teacher = self.head(self.encoder(view.data)), self.taught(view.tensor)
        if self.config.loss == "cosine":
            return {"loss": 1 + negative_cosine(student, teacher)}
        return {"loss": hint(student, teacher)}

    @torch.no_grad()
    def taught(self, data: Tensor) -> Tensor:
        """Return the teacher's features of the run's pixels, standardised where configured."""
        pixels = data * self.scale + self.shift
        size = (self.teacher_size, self.teacher_size)
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        return cast(Tensor, self.norm(upcast(self.teacher.embed(pixels))))
