"""HuBERT: predict the units of hidden frames, clusters made beforehand (Hsu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Mask, Progress, View, ViewNeeds
from manta.encoders import Encoder, TokenEncoder
from manta.errors import ConfigError
from manta.functional.tokens import token_mean, unit_prediction
from manta.materials import LayerFrames, Material, RawFrames, SampleSequences, UnitsMaterial
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import ObjectiveConfig, Temperature
from manta.objectives._parts import Prototypes
from manta.objectives._tokens import TokenView, hidden_tokens, hiding_encoder, token_view
from manta.schedules import value_of


class HuBERTConfig(ObjectiveConfig):
    """Settings of HuBERT."""

    name: Literal["hubert"] = "hubert"
    model: str | None = Field(
        None,
        description="model whose frames are clustered: a run, a registered model or a folder; "
        "None, the first iteration: frames of the raw signal, which are cepstra of sounds",
    )
    layer: str | None = Field(
        None, description="of the model, such as blocks.1; None: its last block; the 6th of 12"
    )
    clusters: int = Field(100, ge=2, description="units; 100, then 500 in the second iteration")
    cluster_seed: int = Field(0, ge=0, description="of the k-means")
    temperature: Temperature = Field(0.1, description="of the cosines of predictions and units")
    alpha: float = Field(
        1.0, ge=0, le=1, description="weight of hidden frames; the visible ones have the rest"
    )
    width: int = Field(256, ge=1, description="of the space in which units are predicted")
    mask_start: float = Field(
        0.08, gt=0, le=1, description="share of the frames at which hidden spans begin"
    )
    mask_length: int = Field(10, ge=1, description="frames of a span; spans may overlap")


@OBJECTIVES.register("hubert")
class HuBERT(Objective[HuBERTConfig]):
    """Cross-entropy of a frame's unit, by the cosine of its projection and each unit's vector.

    A unit is looked up by the place of its frame in the clip, the nearest one counts, and frames in
    the silence around a clip have none. A second iteration is a second run, whose `model` is the
    first.

    Ours: the loss is a mean over samples of the mean over a sample's frames, where the paper's is
    over all frames of a batch; the squared features of the convolutions, which the authors' code
    keeps small, are left alone; one set of units, not an ensemble.
    """

    Config = HuBERTConfig
    family = "masked"
    paper = Paper(
        "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden "
        "Units",
        2021,
        "arXiv:2106.07447, TASLP 2021",
        source="S104",
    )
    views = "1 global, masked"
    keeps = ("prototypes", "units")

    def __init__(self, config: HuBERTConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        hiding_encoder(config.name, encoder, data.spec, axes=1)
        self.units = SampleSequences(data.materials["units"])
        self.projector = nn.Linear(encoder.embed_dim, config.width)
        self.codes = Prototypes(config.width, config.clusters)

    @classmethod
    def materials(cls, config: HuBERTConfig) -> Mapping[str, Material]:
        frames = RawFrames() if config.model is None else LayerFrames(config.model, config.layer)
        units = UnitsMaterial(frames, config.clusters, config.cluster_seed, placed=True)
        return {"units": units}

    @property
    def needs(self) -> ViewNeeds:
        config = self.config
        return ViewNeeds(
            preset="plain",
            global_views=1,
            mask=Mask("span", settings={"start": config.mask_start, "length": config.mask_length}),
            mask_grid=cast(TokenEncoder, self.encoder).grid,
            token_lengths=getattr(self.encoder, "token_lengths", None),
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.global_views
        seen = token_view(self.config.name, self.encoder, view)
        predicted = self.projector(hidden_tokens(self.encoder, view.data, seen.hidden))
        cosines = self.codes(predicted.flatten(0, 1)).unflatten(0, predicted.shape[:2])
        units = self._units(batch.index, view, seen)
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        loss = unit_prediction(
            cosines, units, seen.hidden, temperature=temperature, alpha=self.config.alpha
        )
        right = (cosines.detach().argmax(2) == units).to(cosines.dtype)
        return {"loss": loss, "accuracy": token_mean(right, seen.hidden & (units >= 0))}

    def _units(self, index: Tensor, view: View, seen: TokenView) -> Tensor:
        """Return `[N, T]` int64, the unit where each frame begins; -1 where there is none.

        Raises:
            ConfigError: the views have no places in their rows.
        """
        if view.box is None or self.units.step is None:
            raise ConfigError(
                "objective.name=hubert looks units up by the place of a view in its row, and views "
                "of data.modality have none; choose another objective"
            )
        begin, end = view.box[:, :1].double(), view.box[:, 1:].double()
        share = seen.begins
        if view.flip is not None:  # time runs backwards: a frame ends where it began
            share = torch.where(view.flip.unsqueeze(1), 1 - seen.ends, share)
        places = begin + share * (end - begin)
        # Half a step more, as fractions are cut off: the unit whose begin is nearest.
        units = self.units.at(index, places / self.units.step + 0.5)
        return units.masked_fill(~seen.there, -1)
