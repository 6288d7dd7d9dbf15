"""MAE: encode a quarter of the patches, decode the pixels of the rest (He et al. 2022)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, ViewNeeds
from manta.encoders import Encoder, PatchEncoder, TokenEncoder
from manta.errors import ConfigError
from manta.functional import masked_patch_mse, patchify
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import ObjectiveConfig
from manta.objectives._parts import freeze_unreached, masked_encoder
from manta.objectives._positions import sincos_positions
from manta.ragged import Data


class MAEConfig(ObjectiveConfig):
    """Settings of MAE (masked autoencoder)."""

    name: Literal["mae"] = "mae"
    mask_ratio: float = Field(
        0.75, gt=0, lt=1, description="of the patches, hidden from the encoder"
    )
    decoder_dim: int = Field(
        128, ge=4, multiple_of=4, description="width of the decoder; 512 in the paper"
    )
    decoder_depth: int = Field(2, ge=1, description="blocks of the decoder; 8 in the paper")
    decoder_heads: int = Field(4, ge=1, description="attention heads of the decoder")

    @model_validator(mode="after")
    def _heads_divide(self) -> MAEConfig:
        if self.decoder_dim % self.decoder_heads:
            raise ValueError(
                f"decoder_dim {self.decoder_dim} is not a multiple "
                f"of decoder_heads {self.decoder_heads}"
            )
        return self


@OBJECTIVES.register("mae")
class MAE(Objective[MAEConfig]):
    """A decoder that predicts the normalised pixels of hidden patches from the visible ones.

    Ours: the encoder's positions are timm's learned ones, where the paper's are fixed sines and
    cosines; the decoder's are the paper's.
    """

    Config = MAEConfig
    family = "masked"
    paper = Paper(
        "Masked Autoencoders Are Scalable Vision Learners", 2022, "arXiv:2111.06377, CVPR 2022"
    )
    views = "1 global, masked"

    def __init__(self, config: MAEConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        tokens = masked_encoder(config.name, encoder, config.mask_ratio)
        example = data.spec.example(1)
        self.decoder = Decoder(tokens, config, patches_of(tokens, example).shape[-1])
        freeze_unreached(encoder, tokens.tokens(example))

    @property
    def patches(self) -> TokenEncoder:
        """Return the encoder as the TokenEncoder that `__init__` made sure it is."""
        return cast(TokenEncoder, self.encoder)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(
            preset="plain",
            global_views=1,
            mask_ratio=self.config.mask_ratio,
            mask_grid=self.patches.grid,
        )

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        (view,) = batch.global_views
        if view.mask is None:
            raise ConfigError(
                "mae was given a view without a mask; build the views from the objective's `needs`"
            )
        hidden = view.mask
        keep = (~hidden).nonzero()[:, 1].view(len(hidden), -1)
        prediction = self.decoder(self.patches.tokens(view.data, keep), keep)
        patches = patches_of(self.patches, view.data)
        return {"loss": masked_patch_mse(prediction, patches, hidden)}


def patches_of(encoder: TokenEncoder, x: Data) -> Tensor:
    """Return the raw numbers of each patch, `[N, T, numbers]`.

    Raises:
        ConfigError: neither the encoder says what its tokens are made of, nor is x a grid.
    """
    if isinstance(encoder, PatchEncoder):
        return encoder.patches(x)
    if not isinstance(x, Tensor):
        raise ConfigError(
            "objective.name=mae needs an encoder that says what its tokens are made of, by a "
            "method `patches`"
        )
    return patchify(x, encoder.patch_size)


class Decoder(nn.Module):
    """A narrow transformer over the encoder's tokens, with a learned token for hidden patches.

    Args:
        out: numbers of a patch.
    """

    positions: Tensor

    def __init__(self, encoder: TokenEncoder, config: MAEConfig, out: int) -> None:
        super().__init__()
        width = config.decoder_dim
        self.prefix_tokens = encoder.prefix_tokens
        self.embed = nn.Linear(encoder.embed_dim, width)
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, width), std=0.02))
        positions = sincos_positions(encoder.grid, width)
        self.register_buffer("positions", positions, persistent=False)
        heads, depth = config.decoder_heads, config.decoder_depth
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Return the predicted numbers `[N, T, out]` of every patch, in an image its pixels.

        Args:
            tokens: `[N, P + K, D]`, P prefix tokens and the K visible patches.
            keep: `[N, K]`, the places of the visible patches.
        """
        x = self.embed(tokens)
        prefix, visible = x[:, : self.prefix_tokens], x[:, self.prefix_tokens :]
        patches = self.mask_token.to(x.dtype).repeat(len(x), len(self.positions), 1)
        patches = patches.scatter(1, keep.unsqueeze(-1).expand_as(visible), visible)
        x = self.blocks(torch.cat([prefix, patches + self.positions.to(x.dtype)], dim=1))
        return cast(Tensor, self.head(self.norm(x[:, self.prefix_tokens :])))
