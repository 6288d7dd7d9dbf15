"""Any timm model as an encoder, with a stem for small images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from manta.encoders._config import EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders.arguments import check_arguments, refused
from manta.encoders.catalogue import SMALL_GRID, current_name, takes_patches
from manta.encoders.hub import hub_files
from manta.encoders.sources import FOLDER
from manta.encoders.trial import img_size, needs_size
from manta.errors import ConfigError
from manta.functional import patchify
from manta.spec import Spec

MAX_STAGES = 4
"""Largest number of maps of `stage_maps`: a stem before a network's four stages is left out."""


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
    def create(config: EncoderConfig, spec: Spec) -> TimmEncoder:
        """Build the subclass that fits what the model can do.

        Raises:
            ConfigError: the data are no grids of two sides, timm refuses the arguments, or
                `stem: small` changes nothing in this family.
        """
        if len(spec.sides) != 2:
            raise ConfigError(
                f"encoder.name={config.name} takes grids of two known sides, and data.modality "
                f"gives {spec}; register an encoder that takes them"
            )
        config = config.model_copy(update={"name": current_name(config.name)})
        check_arguments(config.args, channels=spec.channels)
        args = arguments(config, spec)
        # A folder or a repository of pretrained weights is a name to timm.
        source = config.pretrained if isinstance(config.pretrained, str) else config.name
        with _weights(config):
            try:
                model = timm.create_model(
                    source, pretrained=bool(config.pretrained), **{"num_classes": 0, **args}
                )
            except OSError:
                raise  # of the hub, or of a disk
            except Exception as error:  # of timm's many models, each has its own kinds
                given = config.pretrained if isinstance(config.pretrained, str) else None
                raise refused(config.name, args, error, weights=given) from error
        if not expressible(config):
            _shrink_stem(model, config.name)
        # Relatives, such as Eva and Hiera, have parts of the same names that work otherwise.
        is_transformer = isinstance(model, VisionTransformer)
        return TimmTransformer(model) if is_transformer else TimmConvNet(model)

    def embed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model(x))


class TimmConvNet(TimmEncoder):
    """A convolutional network or hierarchical transformer: a pooled vector and a feature map."""

    def feature_map(self, x: Tensor) -> Tensor:
        features = self.model.forward_features(x)
        if isinstance(features, Tensor) and features.ndim == 3:
            features = self._as_map(features, x.shape[-2] / x.shape[-1])
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise ConfigError(
                f"encoder: {type(self.model).__name__} has no map of features, which the objective "
                "needs; choose another encoder, such as encoder.name=resnet18"
            )
        # Swin and its relatives give [N, h, w, D].
        if features.ndim == 4 and features.shape[1] != self.dense_dim:
            features = features.permute(0, 3, 1, 2)
        return features

    def _as_map(self, tokens: Tensor, ratio: float) -> Tensor:
        """Return tokens `[N, P + T, D]` as a map of the grid's ratio of height to width.

        They stay as they are if T cells make no such map.
        """
        patches = tokens[:, int(getattr(self.model, "num_prefix_tokens", 0)) :]
        count = patches.shape[1]
        rows, columns = round(math.sqrt(count * ratio)), round(math.sqrt(count / ratio))
        if rows * columns != count:
            return tokens
        return patches.transpose(1, 2).reshape(len(tokens), -1, rows, columns)

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
        self.patch_size: tuple[int, ...] = tuple(embed.patch_size)
        self.grid: tuple[int, ...] = tuple(embed.grid_size)
        # Beside timm's model, so that neither its weights nor an exported file have it.
        self.hidden_token: nn.Parameter | None = None

    @property
    def prefix_tokens(self) -> int:
        return int(self.model.num_prefix_tokens)

    def patches(self, x: Tensor) -> Tensor:
        """Return the raw numbers of each patch, row by row: `[N, T, C * h * w]`."""
        return patchify(x, self.patch_size)

    def learn_hidden(self) -> None:
        """Add the learnt vector that `hide` puts in the place of patches."""
        if self.hidden_token is None:
            weight = next(self.parameters())
            token = torch.empty(int(self.model.embed_dim), device=weight.device)
            self.hidden_token = nn.Parameter(nn.init.trunc_normal_(token, std=0.02))

    def tokens(self, x: Tensor, keep: Tensor | None = None, hide: Tensor | None = None) -> Tensor:
        x = self._embedded(x, hide)
        if keep is not None:
            prefix, patches = x[:, : self.prefix_tokens], x[:, self.prefix_tokens :]
            patches = patches.gather(1, keep.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
            x = torch.cat([prefix, patches], dim=1)
        x = self.model.norm_pre(x)
        for block in self.model.blocks:
            x = block(x)
        return cast(Tensor, self.model.norm(x))

    def layers(self, x: Tensor, hide: Tensor | None = None) -> list[Tensor]:
        """Return the patches after each block, `[N, T, D]`, before the model's last norm."""
        x = self.model.norm_pre(self._embedded(x, hide))
        outputs = []
        for block in self.model.blocks:
            x = block(x)
            outputs.append(x[:, self.prefix_tokens :])
        return outputs

    def _embedded(self, x: Tensor, hide: Tensor | None) -> Tensor:
        """Return embedded patches with their positions and the prefix tokens, `[N, P + T, D]`."""
        embedded: Tensor = self.model.patch_embed(x)
        if hide is not None:
            if self.hidden_token is None:
                raise RuntimeError("call learn_hidden() before tokens are hidden")
            # timm gives a map [N, h, w, D] where sizes may change.
            hidden = hide.reshape(embedded.shape[:-1]).unsqueeze(-1)
            embedded = torch.where(hidden, self.hidden_token.to(embedded.dtype), embedded)
        return cast(Tensor, self.model._pos_embed(embedded))

    def pool(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.model.forward_head(tokens))

    def feature_map(self, x: Tensor) -> Tensor:
        patches = self.tokens(x)[:, self.prefix_tokens :]
        rows, columns = x.shape[-2] // self.patch_size[0], x.shape[-1] // self.patch_size[1]
        return patches.transpose(1, 2).reshape(len(x), self.dense_dim, rows, columns)


def arguments(config: EncoderConfig, spec: Spec) -> dict[str, Any]:
    """Return arguments of `timm.create_model` with which timm by itself can build the model."""
    args = dict(config.args)
    if spec.channels != 3:
        args.setdefault("in_chans", spec.channels)
    if takes_patches(config.name):
        args.setdefault("img_size", img_size(spec))
        args.setdefault("dynamic_img_size", True)
        if config.stem == "small":
            args.setdefault("patch_size", max(min(spec.sides) // SMALL_GRID, 1))
    elif "img_size" not in args and needs_size(current_name(config.name), args, spec):
        args["img_size"] = img_size(spec)
    return args


def expressible(config: EncoderConfig) -> bool:
    """Return whether `arguments` describe the whole model.

    A small convolutional stem is put in after timm has built the model.
    """
    return config.stem == "default" or takes_patches(config.name)


@contextlib.contextmanager
def _weights(config: EncoderConfig) -> Iterator[None]:
    """Run a block that loads the pretrained weights of `config`, if it has any."""
    pretrained = config.pretrained
    if not pretrained or (isinstance(pretrained, str) and pretrained.startswith(FOLDER)):
        yield
        return
    name = pretrained if isinstance(pretrained, str) else config.name
    instead = "a folder works without it, encoder.pretrained=local-dir:FOLDER; or set it to false"
    with hub_files(f"encoder.pretrained: the weights of {name!r}", instead):
        yield


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
