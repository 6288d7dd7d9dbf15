"""SSL-EY: the views' canonical correlations, found without constraints or weights.

Chapman et al. 2024.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder
from manta.functional.cca import ssl_ey_terms
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import mlp


class SSLEYConfig(ObjectiveConfig):
    """Settings of SSL-EY, which has no hyper-parameter but the projector."""

    name: Literal["ssl_ey"] = "ssl_ey"
    projector: HeadConfig = Field(
        HeadConfig(hidden=1024, out=1024, layers=3), description="as wide as Barlow Twins'"
    )


@OBJECTIVES.register("ssl_ey")
class SSLEY(Objective[SSLEYConfig]):
    """The Eckart-Young loss over the projections of all ranks' samples.

    Both traces are of the same batch. Logged with it is how much of the views' canonical
    correlations is captured, out of the projector's `out`.

    Ours: no more than two views, where the paper's C and V allow more; and no independent
    mini-batch for one factor of tr(V V), without which its estimate is biased.
    """

    Config = SSLEYConfig
    family = "non-contrastive"
    paper = Paper(
        "Unconstrained Stochastic CCA: Unifying Multiview and Self-Supervised Learning",
        2024,
        "arXiv:2310.01012, ICLR 2024",
        source="S353",
    )
    exchange = Exchange.STATISTICS

    def __init__(self, config: SSLEYConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        # Covariances do not depend on a shift, so the last layer has no bias.
        self.projector = mlp(encoder.embed_dim, config.projector, bias=False)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="byol")

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        terms = ssl_ey_terms(z_a, z_b, average=self.comm.mean, ranks=self.comm.world)
        return {"loss": terms.loss, "captured": terms.captured.detach()}
