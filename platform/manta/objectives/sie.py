"""SIE: one half of an embedding ignores the view, the other follows its transformation.

Garrido et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.functional.equivariance import sie_terms, transported
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp
from manta.ragged import joined


class SIEConfig(ObjectiveConfig):
    """Settings of SIE (split invariant equivariant representations)."""

    name: Literal["sie"] = "sie"
    split: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="fraction of the encoder's features that are equivariant; 1/2 in the paper",
    )
    invariance: float = Field(
        10.0, ge=0, description="weight of the distance of the invariant parts"
    )
    equivariance: float = Field(
        4.5, ge=0, description="weight of the distance of an equivariant part and its prediction"
    )
    variance: float = Field(10.0, ge=0, description="weight of the hinges on standard deviations")
    covariance: float = Field(1.0, ge=0, description="weight of the squared covariances")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=512, layers=3),
        description="of the invariant part; the paper's is 1024 wide",
    )
    equivariant_projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=3),
        description="of the equivariant part; the paper's is 1024 wide",
    )
    hypernetwork: HeadConfig = Field(
        HeadConfig(layers=1, norm=None),
        description="from both views' transformations to the linear predictor; linear in the "
        "paper; `out` is not used",
    )


@OBJECTIVES.register("sie")
class SIE(Objective[SIEConfig]):
    """VICReg whose second part is mapped from view a to view b by their transformations.

    From the paper and its code: the split, one direction, the weights, a linear hypernetwork that
    does not see the images.

    Ours: the hypernetwork gets the parameters of both views, since two crops have no single
    relative transformation as two poses have; it has a bias; and its output is added to the
    identity, which learns sooner.
    """

    Config = SIEConfig
    family = "non-contrastive"
    paper = Paper(
        "Self-supervised learning of Split Invariant Equivariant representations",
        2023,
        "arXiv:2302.10283, ICML 2023",
        source="S065",
    )
    exchange = Exchange.STATISTICS

    def __init__(self, config: SIEConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.equivariant = round(config.split * encoder.embed_dim)
        if not 0 < self.equivariant < encoder.embed_dim:
            raise ConfigError(
                f"objective.split leaves a part of the encoder's {encoder.embed_dim} features empty"
            )
        # No term depends on a shift of the invariant part, so its last layer has no bias.
        self.projector = mlp(encoder.embed_dim - self.equivariant, config.projector, bias=False)
        self.equivariant_projector = mlp(self.equivariant, config.equivariant_projector)
        self.width = self.equivariant_projector.out
        if not data.transform_width:
            raise ConfigError(
                "objective.name=sie needs views that hand over the parameters of their "
                "transformation, as those of images do; choose another objective"
            )
        self.hypernetwork = mlp(2 * data.transform_width, config.hypernetwork, out=self.width**2)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        view_a, view_b = batch.global_views
        y = self.encoder(joined([view_a.data, view_b.data]))
        invariant_a, invariant_b = self.projector(y[:, : -self.equivariant]).chunk(2)
        equivariant = self.equivariant_projector(y[:, -self.equivariant :])
        equivariant_a, equivariant_b = equivariant.chunk(2)
        transformation = torch.cat([self._transform(view_a), self._transform(view_b)], dim=1)
        entries = self.hypernetwork(transformation.to(y.dtype))
        maps = entries.unflatten(1, (self.width, self.width))
        terms = sie_terms(
            invariant_a,
            invariant_b,
            equivariant_a,
            equivariant_b,
            transported(equivariant_a, maps),
            average=self.comm.mean,
            ranks=self.comm.world,
        )
        loss = (
            self.config.invariance * terms.invariance
            + self.config.equivariance * terms.equivariance
            + self.config.variance * (terms.variance + terms.transported_variance)
            + self.config.covariance * terms.covariance
        )
        return {"loss": loss} | {name: term.detach() for name, term in terms._asdict().items()}

    def _transform(self, view: View) -> Tensor:
        """Return the parameters of the view's transformation, `[B, P]`."""
        width = self.data.transform_width
        if view.transform is None or view.transform.shape[1] != width:
            raise ConfigError(
                f"sie needs views that hand over {width} parameters of their transformation"
            )
        return view.transform
