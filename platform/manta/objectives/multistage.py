"""MCL: stages of contrast, each among samples that the earlier stages could not tell apart.

Zhang et al. 2024.
"""

from __future__ import annotations

from typing import Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder
from manta.encoders.concatenation import Concatenation
from manta.errors import ConfigError
from manta.functional import upcast
from manta.functional.restricted import restricted_nt_xent
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, ObjectiveConfig, Temperature
from manta.objectives._exchange import Exchange
from manta.objectives._memory import Queue
from manta.objectives._parts import mlp, momentum_copy
from manta.ragged import count_rows
from manta.schedules import value_of


class MultistageConfig(ObjectiveConfig):
    """Settings of MCL (multistage contrastive learning)."""

    name: Literal["multistage"] = "multistage"
    stages: int = Field(3, ge=2, description="equal parts of the run")
    clusters: int = Field(
        5, ge=2, description="of each finished stage's features; stages multiply them"
    )
    fit_rows: int = Field(
        1024,
        ge=2,
        description="samples at the start of a stage to whose features k-means is fitted",
    )
    exported_stages: Literal["last", "all"] = Field(
        "last",
        description="the encoder of the last stage, or all stages' features, concatenated",
    )
    temperature: Temperature = Field(0.5, description="of the cosines")
    projector: HeadConfig = Field(
        HeadConfig(hidden=512, out=128, layers=2),
        description="head between the encoder and the loss",
    )

    @model_validator(mode="after")
    def _rows_suffice(self) -> MultistageConfig:
        if self.fit_rows < self.clusters:
            raise ValueError(
                f"fit_rows {self.fit_rows} cannot make {self.clusters} clusters; raise it"
            )
        return self


@OBJECTIVES.register("multistage")
class Multistage(Objective[MultistageConfig]):
    """SimCLR in stages: each contrasts within the clusters that the earlier stages found.

    At the end of a stage the encoder is kept, frozen. The samples of the first batches after it, as
    the frozen encoder embeds them, are clustered by k-means; from there on a negative must share
    the anchor's cluster under every finished stage. No table is kept: frozen encoders assign each
    batch as it comes, by the mean of both views' normalised features. The fit is made after
    `fit_rows` samples, or half-way through the stage if that comes first.

    With few samples of a cluster in a batch there are few negatives, and none for an anchor without
    companions: clusters to the power of stages - 1 should stay well below the batch.

    Ours: the paper assigns clusters off-line, and its representation is all stages' features,
    concatenated: that is what `exported_stages=all` gives (before the end of the run, of the stages
    whose clusters are in use and the present one). It is `stages` times as wide and as slow, has no
    feature maps, and timm cannot load it; so by default the encoder, which trains on through all
    stages, is exported.
    """

    Config = MultistageConfig
    family = "contrastive"
    paper = Paper(
        "Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning",
        2024,
        "arXiv:2402.11816, ECCV 2024",
        source="S020",
    )
    exchange = Exchange.GATHER
    keeps = ("queue",)
    centroids: Tensor
    fitted: Tensor

    def __init__(self, config: MultistageConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        if config.exported_stages == "all" and isinstance(encoder, Concatenation):
            raise ConfigError(
                "objective.exported_stages=all puts encoders side by side, "
                "and encoder.name did already"
            )
        self.projector = mlp(encoder.embed_dim, config.projector)
        self.earlier = nn.ModuleList([momentum_copy(encoder) for _ in range(config.stages - 1)])
        centroids = torch.zeros(config.stages - 1, config.clusters, encoder.embed_dim)
        self.register_buffer("centroids", centroids)
        self.register_buffer("fitted", torch.zeros(config.stages - 1, dtype=torch.bool))
        self.queue = Queue(config.fit_rows, encoder.embed_dim)
        # By the newest frozen encoder, one for each micro-batch of the step.
        self._features: list[Tensor] = []

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="simclr")

    @property
    def exported(self) -> Encoder:
        if self.config.exported_stages == "last":
            return self.encoder
        fitted = zip(self.earlier, self.fitted.tolist(), strict=True)
        finished = [cast(Encoder, encoder) for encoder, is_fitted in fitted if is_fitted]
        return Concatenation([*finished, self.encoder])

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules but finished stages, which stay in evaluation mode.

        A sample's cluster must not depend on its batch.
        """
        super().train(mode)
        self.earlier.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        z_a, z_b = self.fused(nn.Sequential(self.encoder, self.projector), batch.global_views)
        allowed = self.allowed(batch.global_views, self.stage(progress.step, progress))
        temperature = value_of(self.config.temperature, progress.step, progress.total_steps)
        loss = restricted_nt_xent(
            z_a, z_b, allowed=allowed, temperature=temperature, **self.gathered(z_a, z_b)
        )
        return {"loss": loss, "negatives": 2 * (allowed.sum(1).float().mean() - 1)}

    def start(self, stage: int, progress: Progress) -> int:
        """Return the first step of a stage; stages count from 0."""
        return round(stage * progress.total_steps / self.config.stages)

    def stage(self, step: int, progress: Progress) -> int:
        """Return the stage of a step."""
        return sum(step >= self.start(stage, progress) for stage in range(1, self.config.stages))

    @torch.no_grad()
    def allowed(self, views: list[View], stage: int) -> Tensor:
        """Return `[N, M]` bool, True in the anchor's cluster under every fitted stage."""
        shape = (count_rows(views[0].data), self.config.stages - 1)
        own = torch.zeros(shape, dtype=torch.int64, device=self.centroids.device)
        for i, encoder in enumerate(self.earlier[:stage]):
            a, b = (F.normalize(upcast(features), dim=1) for features in self.fused(encoder, views))
            features = F.normalize(a + b, dim=1)
            own[:, i] = torch.cdist(features, self.centroids[i].to(features.dtype)).argmin(1)
        if stage:
            self._features.append(features)
        everyone = self.comm.gather(own)
        return ((own[:, None] == everyone) | ~self.fitted).all(2)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        stage = self.stage(progress.step, progress)
        if stage:
            self._learn_clusters(stage, progress)
        self._features.clear()
        for finished in range(stage, self.stage(progress.step + 1, progress)):
            self.earlier[finished].load_state_dict(self.encoder.state_dict())
            # Emptied for the next stage's features, which another encoder gives.
            self.queue.place.zero_()
            self.queue.filled.zero_()

    def _learn_clusters(self, stage: int, progress: Progress) -> None:
        """Collect this step's features; fit the previous stage's centroids at the last step needed.

        That step follows from counts that the host has, so that it never waits for the device.
        """
        features = torch.cat(self._features)
        first, end = self.start(stage, progress), self.start(stage + 1, progress)
        steps = progress.step - first + 1
        enough = -(-self.config.fit_rows // (len(features) * self.comm.world))
        needed = min(enough, max((end - first) // 2, 1))
        if steps > needed:
            return
        self.queue.push(self.comm.gather(features))
        if steps == needed:
            self.centroids[stage - 1] = self._fit(progress.seed)
            self.fitted[stage - 1] = True

    def _fit(self, seed: int) -> Tensor:
        """Return centroids `[clusters, D]` of the collected rows."""
        from sklearn.cluster import KMeans

        rows = self.queue.rows[: int(self.queue.filled)]
        if len(rows) < self.config.clusters:
            raise ConfigError(
                f"{len(rows)} samples came in half a stage, too few for {self.config.clusters} "
                "clusters; raise train.epochs or lower objective.stages"
            )
        kmeans = KMeans(self.config.clusters, n_init=4, random_state=seed)
        centres = kmeans.fit(rows.double().cpu().numpy()).cluster_centers_
        # The mean over ranks, so that no difference of their libraries makes them disagree.
        return self.comm.mean(torch.from_numpy(centres).to(self.centroids))
