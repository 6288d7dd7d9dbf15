"""Any timm model as an encoder, with a stem for small images."""

from __future__ import annotations

import inspect
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from manta.encoders._config import EncoderConfig
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError

MAX_STAGES = 4
"""Largest number of maps of `stage_maps`: a stem before a network's four stages is left out."""
SMALL_GRID = 8
"""Patches along a side that `stem: small` gives a transformer: 4-pixel patches at 32 px."""


class TimmEncoder(Encoder):
    """A timm backbone without its classifier."""

    model: Any  # a timm model, which has more than nn.Module promises

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # Some families widen the pooled vector after the last feature map, as MobileNetV3's 1x1
        # head does.
        self.dense_dim = int(self.model.num_features)
        self.embed_dim = int(getattr(model, "head_hidden_size", None) or self.dense_dim)

    @staticmethod
    def create(config: EncoderConfig, *, image_size: int) -> TimmEncoder:
        """Build the subclass that fits what the model can do.

        Raises:
            ConfigError: timm refuses the arguments, or `stem: small` changes nothing in this
                family.
        """
        args = arguments(config, image_size=image_size)
        try:
            model = timm.create_model(
                config.name, pretrained=config.pretrained, num_classes=0, **args
            )
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"encoder: timm cannot build {config.name!r} with {args}: {error}"
            ) from error
        if not expressible(config):
            _shrink_stem(model, config.name)
        # What `TimmTransformer.tokens` calls.
        needed = ("blocks", "patch_embed", "_pos_embed")
        is_transformer = all(hasattr(model, name) for name in needed)
        return TimmTransformer(model) if is_transformer else TimmConvNet(model)

    def embed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model(x))


class TimmConvNet(TimmEncoder):
    """A convolutional network or hierarchical transformer: a pooled vector and a feature map."""

    def feature_map(self, x: Tensor) -> Tensor:
        features = self.model.forward_features(x)
        # Swin and its relatives give [N, h, w, D].
        if features.ndim == 4 and features.shape[1] != self.dense_dim:
            features = features.permute(0, 3, 1, 2)
        return cast(Tensor, features)

    @property
    def stage_dims(self) -> tuple[int, ...]:
        return tuple(int(stage["num_chs"]) for stage in self.model.feature_info)[-MAX_STAGES:]

    def stage_maps(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        last, maps = self.model.forward_intermediates(x, indices=len(self.stage_dims))
        return maps, cast(Tensor, self.model.forward_head(last))


class TimmTransformer(TimmEncoder):
    """A vision transformer: tokens, and a feature map made of them."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        embed: Any = model.patch_embed
        self.patch_size: tuple[int, int] = tuple(embed.patch_size)
        self.grid: tuple[int, int] = tuple(embed.grid_size)

    @property
    def prefix_tokens(self) -> int:
        return int(self.model.num_prefix_tokens)

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        model: Any = self.model
        x = model._pos_embed(model.patch_embed(x))
        if keep is not None:
            prefix, patches = x[:, : self.prefix_tokens], x[:, self.prefix_tokens :]
            patches = patches.gather(1, keep.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
            x = torch.cat([prefix, patches], dim=1)
        x = model.norm_pre(x)
        for block in model.blocks:
            x = block(x)
        return cast(Tensor, model.norm(x))

    def pool(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.model.forward_head(tokens))

    def feature_map(self, x: Tensor) -> Tensor:
        patches = self.tokens(x)[:, self.prefix_tokens :]
        rows, columns = x.shape[-2] // self.patch_size[0], x.shape[-1] // self.patch_size[1]
        return patches.transpose(1, 2).reshape(len(x), self.dense_dim, rows, columns)


def arguments(config: EncoderConfig, *, image_size: int) -> dict[str, Any]:
    """Return arguments of `timm.create_model` with which timm by itself can build the model."""
    args = dict(config.args)
    if _takes_patches(config.name):
        args.setdefault("img_size", image_size)
        args.setdefault("dynamic_img_size", True)
        if config.stem == "small":
            args.setdefault("patch_size", max(image_size // SMALL_GRID, 1))
    return args


def expressible(config: EncoderConfig) -> bool:
    """Return whether `arguments` describe the whole model.

    A small convolutional stem is put in after timm has built the model.
    """
    return config.stem == "default" or _takes_patches(config.name)


def _takes_patches(name: str) -> bool:
    """Return whether the model is one of timm's vision transformers."""
    entry = timm.model_entrypoint(name)
    module = inspect.getmodule(entry)
    return module is not None and module.__name__.endswith("vision_transformer")


def _shrink_stem(model: nn.Module, name: str) -> None:
    """Keep the first convolution's resolution: stride 1, at most 3x3, and no max-pool after it."""
    first_name, first = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if first.stride == (1, 1) and not hasattr(model, "maxpool"):
        raise ConfigError(
            f"encoder.stem: 'small' has nothing to change in {name!r}; set it to 'default'"
        )
    side = min(first.kernel_size[0], 3)
    replacement = nn.Conv2d(
        first.in_channels,
        first.out_channels,
        side,
        stride=1,
        padding=side // 2,
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(replacement.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(first_name, replacement)
    if hasattr(model, "maxpool"):
        model.maxpool = nn.Identity()
