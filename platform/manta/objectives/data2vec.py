"""Latent prediction: what a teacher makes of the whole sample, told from its visible tokens.

Baevski et al. 2022 and 2023 (data2vec, data2vec 2.0), in the form of Pantagruel (Le et al. 2026).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from manta.batch import Ask, Batch, DataFacts, Mask, Progress, Same, View, ViewNeeds
from manta.encoders import Encoder, HidingEncoder, TokenEncoder
from manta.errors import ConfigError
from manta.functional import upcast
from manta.functional.tokens import contextual_targets, latent_regression, token_mean
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig
from manta.objectives._parts import ema_update, mlp, momentum_copy
from manta.objectives._tokens import TokenView, hidden_tokens, hiding_encoder, token_view
from manta.ragged import Ragged
from manta.schedules import Linear, value_of


class Data2VecConfig(ObjectiveConfig):
    """Settings of latent prediction."""

    name: Literal["data2vec"] = "data2vec"
    mask_ratio: float = Field(
        0.5, gt=0, lt=1, description="of the tokens, hidden; 0.5 of audio, 0.48 of text"
    )
    mask_length: int = Field(1, ge=1, description="tokens of a hidden span; 5 of audio, 1 of text")
    masks: int = Field(
        1, ge=1, description="of a sample, for one pass of the teacher; 8 in data2vec 2.0"
    )
    top_layers: int | None = Field(
        None,
        ge=1,
        description="the teacher's last blocks, whose mean is predicted; None: two thirds of them, "
        "as 8 of 12 of audio; all 12 of text",
    )
    momentum: Momentum = Field(
        Linear(start=0.99, end=0.999),
        description="of the teacher; 0.999 to 0.99999 in the papers' long runs",
    )
    predictor: HeadConfig = Field(
        HeadConfig(layers=1, norm="layer", activation="gelu"),
        description="from a token to its latent, whose width its output has",
    )
    language: float = Field(
        0.0,
        ge=0,
        description="weight of a further loss of text: the cross-entropy of a hidden token's "
        "number, as a masked language model's",
    )


@OBJECTIVES.register("data2vec")
class Data2Vec(Objective[Data2VecConfig]):
    """Squared error of hidden tokens against the mean of a momentum teacher's last blocks.

    The teacher sees everything; what each of its blocks gives is normalised over a sample's tokens,
    channel by channel. The same for all data whose encoder can hide tokens. The student is
    exported.

    Ours: hidden tokens are a learnt vector in their place and the predictor sees one token at a
    time, as in the first data2vec, where the second leaves them out and fills them in by a small
    convolutional decoder; what a block gives is predicted, where theirs is what its last layer
    gives before the shortcut; the loss is a mean over samples of the mean over a sample's hidden
    tokens.
    """

    Config = Data2VecConfig
    family = "masked"
    paper = Paper(
        "Pantagruel: Unified Self-Supervised Encoders for French Text and Speech",
        2026,
        "arXiv:2601.05911, LREC 2026",
        source="S241",
    )
    views = "1 global, masked"
    keeps = ("teacher",)

    def __init__(self, config: Data2VecConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        self.top = _top_layers(config, hiding_encoder(config.name, encoder, data.spec), data)
        self.predictor = mlp(encoder.embed_dim, config.predictor, out=encoder.embed_dim)
        self.words: nn.Linear | None = None
        if config.language > 0:
            if data.spec.form != "ids":
                raise ConfigError(
                    "objective.language: only token numbers can be told, and data.modality gives "
                    f"{data.spec}; set it to 0"
                )
            self.words = nn.Linear(encoder.embed_dim, data.spec.vocabulary)
        self.teacher = momentum_copy(encoder)
        self.train(self.training)

    @property
    def needs(self) -> ViewNeeds:
        config = self.config
        mask = Mask("uniform", config.mask_ratio)
        if config.mask_length > 1:
            mask = Mask("span", config.mask_ratio, {"length": config.mask_length})
        again = [Ask(after=0, gap=Same(), mask=mask)] * (config.masks - 1)
        needs = ViewNeeds(
            preset="plain",
            mask_grid=cast(TokenEncoder, self.encoder).grid,
            token_lengths=getattr(self.encoder, "token_lengths", None),
        )
        if not again:
            return replace(needs, global_views=1, mask=mask)
        return replace(needs, asks=(Ask(mask=mask), *again))

    def train(self, mode: bool = True) -> Data2Vec:
        """Set the mode of all but the teacher, which drops nothing out."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        views = batch.global_views
        seen = [token_view(self.config.name, self.encoder, view) for view in views]
        with torch.no_grad():
            layers = cast(HidingEncoder, self.teacher).layers(views[0].data)
            targets = contextual_targets(layers[-self.top :], seen[0].there)
        masks = [self._of_mask(*pair, targets) for pair in zip(views, seen, strict=True)]
        terms = {name: torch.stack([one[name] for one in masks]).mean() for name in masks[0]}
        loss = terms["latents"]
        if self.words is not None:
            loss = loss + self.config.language * terms["language"]
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def _of_mask(self, view: View, seen: TokenView, targets: Tensor) -> dict[str, Tensor]:
        """Return the losses of a view's hidden tokens, and how far apart their latents are."""
        tokens = hidden_tokens(self.encoder, view.data, seen.hidden)
        predicted = self.predictor(tokens.flatten(0, 1)).view_as(tokens)
        terms = {
            "latents": latent_regression(predicted, targets, seen.hidden),
            "target_std": _spread(targets, seen.hidden),
            "prediction_std": _spread(predicted.detach(), seen.hidden),
        }
        if self.words is not None:
            terms["language"] = self._language(self.words(tokens), view, seen)
        return terms

    def _language(self, logits: Tensor, view: View, seen: TokenView) -> Tensor:
        """Return the cross-entropy of the numbers of hidden tokens."""
        ids = view.data.padded()[0] if isinstance(view.data, Ragged) else cast(Tensor, view.data)
        scores, numbers = upcast(logits).flatten(0, 1), ids.clamp(min=0).flatten().long()
        each = F.cross_entropy(scores, numbers, reduction="none")
        return token_mean(each.view_as(seen.hidden), seen.hidden)

    def after_step(self, progress: Progress) -> None:
        momentum = value_of(self.config.momentum, progress.step, progress.total_steps)
        ema_update(self.teacher, self.encoder, momentum)


def _top_layers(config: Data2VecConfig, encoder: HidingEncoder, data: DataFacts) -> int:
    """Return how many of the teacher's blocks are averaged.

    Raises:
        ConfigError: it has fewer.
    """
    with torch.no_grad():
        depth = len(encoder.layers(data.spec.example(2)))
    if config.top_layers is None:
        return max(round(depth * 2 / 3), 1)
    if config.top_layers > depth:
        raise ConfigError(
            f"objective.top_layers {config.top_layers} is more than the encoder's {depth} blocks"
        )
    return config.top_layers


def _spread(values: Tensor, hidden: Tensor) -> Tensor:
    """Return the deviation over hidden tokens, a mean over channels; 0 if all are alike."""
    weight = hidden.unsqueeze(2).to(values.dtype)
    count = weight.sum().clamp(min=1)
    mean = (values * weight).sum((0, 1)) / count
    variance = ((values - mean).square() * weight).sum((0, 1)) / count
    return variance.sqrt().mean()
