"""Mixed Barlow Twins: mixtures of samples are embedded between their samples' embeddings.

Bandara et al. 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional import barlow_twins_terms, cross_correlation, upcast
from manta.functional.mixing import mixed_correlation
from manta.keyed import keyed_beta, keyed_order
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class MixedBarlowConfig(ObjectiveConfig):
    """Settings of Mixed Barlow Twins."""

    name: Literal["mixed_barlow"] = "mixed_barlow"
    lambda_: float = Field(
        5e-3, gt=0, description="weight of redundancy reduction against invariance"
    )
    mixing: float = Field(
        2.0,
        ge=0,
        description="weight of the mixed samples' term, times lambda_; 5 in the authors' code",
    )
    alpha: float = Field(
        1.0,
        gt=0,
        description="of the Beta distribution of the mixing share; 1, uniform, in the paper",
    )
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=1024, layers=3), description="as `barlow_twins` has it"
    )


@OBJECTIVES.register("mixed_barlow")
class MixedBarlow(Objective[MixedBarlowConfig]):
    """Barlow Twins, and a term by which mixed samples correlate as mixed embeddings would.

    A mixture is of view a with a partner's view b. One share is drawn for each step, as in the
    authors' code, and partners from the global batch, which may be on another rank.
    """

    Config = MixedBarlowConfig
    family = "non-contrastive"
    paper = Paper(
        "Guarding Barlow Twins Against Overfitting with Mixed Samples",
        2023,
        "arXiv:2312.02151",
        source="S026",
    )
    exchange = Exchange.GATHER
    slow_start = True

    def __init__(self, config: MixedBarlowConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # Correlations do not depend on a shift, so the last layer has no bias.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        model = nn.Sequential(self.encoder, self.projector)
        z_a, z_b = self.fused(model, batch.global_views)
        terms = barlow_twins_terms(cross_correlation(z_a, z_b, average=self.comm.mean))

        view_a, view_b = (view.tensor for view in batch.global_views)
        share, partners = self.drawn(batch, progress)
        # Contiguous, so that all ranks send the same memory format.
        others = self.comm.gather(view_b.contiguous())[partners]
        z_mixed = model(share * view_a + (1 - share) * others)
        z_partner = self.comm.gather(upcast(z_b))[partners]
        mixing = mixed_correlation(
            z_mixed, z_a, z_b, z_partner, share=share, average=self.comm.mean
        )

        weighted = terms.redundancy + self.config.mixing * mixing
        loss = terms.invariance + self.config.lambda_ * weighted
        named = {"invariance": terms.invariance, "redundancy": terms.redundancy, "mixing": mixing}
        return {"loss": loss} | {name: term.detach() for name, term in named.items()}

    def drawn(self, batch: Batch, progress: Progress) -> tuple[float, Tensor]:
        """Return the step's share, and the row of each sample's partner in the global batch."""
        step = torch.zeros(1, dtype=torch.int64)
        share = float(keyed_beta(step, progress, 1, alpha=self.config.alpha, salt=1))
        order = keyed_order(self.comm.gather(batch.index), progress)
        return share, order[self.comm.rank * len(batch) :][: len(batch)]
