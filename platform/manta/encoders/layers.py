"""Features from inside an encoder: the outputs of its layers, pooled over positions."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from manta.encoders._protocols import Encoder, HidingEncoder
from manta.encoders.concatenation import Concatenation
from manta.errors import ConfigError
from manta.ragged import Data, Ragged

_PART = re.compile(r"parts\.(?P<number>\d+)\.(?P<rest>.+)")


def stages(encoder: Encoder) -> list[str]:
    """Return the names of an encoder's stages or blocks, first to last.

    They are those that timm lists, else those in the list `blocks` of a `HidingEncoder`. Those of
    a concatenation are its last part's.

    Raises:
        ConfigError: the encoder has neither.
    """
    if isinstance(encoder, Concatenation):
        return stages(cast(Encoder, encoder.parts[-1]))
    if isinstance(encoder, HidingEncoder) and isinstance(
        blocks := getattr(encoder, "blocks", None), nn.ModuleList
    ):
        return [f"blocks.{number}" for number in range(len(blocks))]
    listed = getattr(getattr(encoder, "model", None), "feature_info", None)
    if not listed:
        raise ConfigError(
            "this encoder does not say which layers it has; "
            "name them by the evaluator's layers=[...]"
        )
    return [str(stage["module"]) for stage in listed]


def find_layer(encoder: nn.Module, name: str) -> nn.Module:
    """Return a submodule such as `layer3` or `blocks.5.attn.proj`.

    Of a concatenation `parts.0.layer3` names a layer of one part, `layer3` its last part's. A name
    for a layer of a concatenation names one of its untrained start too, which is one such part.

    Raises:
        ConfigError: the encoder has none of that name.
    """
    return _located(encoder, name)[1]


def _located(encoder: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Return the model that has a layer, and the layer."""
    of_part = _PART.fullmatch(name)
    if isinstance(encoder, Concatenation):
        if of_part is None:
            return _located(encoder.parts[-1], name)
        if int(of_part["number"]) >= len(encoder.parts):
            raise ConfigError(
                f"the encoder has no layer {name!r}; it has {len(encoder.parts)} parts"
            )
        return _located(encoder.parts[int(of_part["number"])], of_part["rest"])
    root: nn.Module = getattr(encoder, "model", encoder)
    names = [layer for layer, _ in root.named_modules() if layer]
    if of_part is not None and name not in names:
        name = of_part["rest"]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        near = near or [layer for layer in names if "." not in layer]
        raise ConfigError(f"the encoder has no layer {name!r}; such as {', '.join(near[:8])}")
    return root, root.get_submodule(name)


class LayerReader:
    """Reader of the pooled outputs of an encoder's layers.

    Args:
        layers: names of submodules; None: every stage or block that timm lists.

    Raises:
        ConfigError: the encoder has no such layer.
    """

    def __init__(self, encoder: Encoder, layers: Sequence[str] | None = None) -> None:
        self.encoder = encoder
        names = stages(encoder) if layers is None else layers
        located = {name: _located(encoder, name) for name in names}
        self.modules = {name: layer for name, (_, layer) in located.items()}
        self._channels_last = {
            name: getattr(model, "output_fmt", None) == "NHWC"
            for name, (model, _) in located.items()
        }
        self._prefixes = {
            name: int(getattr(model, "num_prefix_tokens", getattr(model, "prefix_tokens", 0)))
            for name, (model, _) in located.items()
        }

    def __call__(self, prepared: Data) -> dict[str, Tensor]:
        """Return `[N, D]` float32 of each layer, by name, without gradients.

        Args:
            prepared: the encoder's input.

        Raises:
            ConfigError: a layer takes no part in the embedding.
        """
        outputs = self._outputs(prepared)
        return {name: self._pooled(name, outputs[name], prepared).float() for name in self.modules}

    def frames(self, prepared: Data) -> Tensor:
        """Return `[N, T, D]` float32, every position of the last of the layers, without gradients.

        These are the cells of a map, row by row, or tokens without those before the patches; of
        ragged rows as many for each, of which those after a row's end are of no use.

        Args:
            prepared: the encoder's input.

        Raises:
            ConfigError: the layer takes no part in the embedding.
        """
        name = list(self.modules)[-1]
        output = self._outputs(prepared)[name]
        if output.ndim == 4:
            last = _has_channels_last(output, self._channels_last[name])
            output = output.flatten(1, 2) if last else output.flatten(2).mT
        elif output.ndim == 3:
            output = output[:, self._prefixes[name] :]
        else:
            output = output.unsqueeze(1)
        return output.float()

    def _pooled(self, name: str, output: Tensor, prepared: Data) -> Tensor:
        """Return `[N, D]`, the mean over positions; of ragged rows over those that they have."""
        tell = getattr(self.encoder, "token_lengths", None)
        if not isinstance(prepared, Ragged) or tell is None or output.ndim != 3:
            return pooled(output, channels_last=self._channels_last[name])
        counts = self._prefixes[name] + tell(prepared).unsqueeze(1)
        there = torch.arange(output.shape[1], device=output.device) < counts
        return cast(Tensor, (output * there.unsqueeze(2)).sum(1) / counts)

    def _outputs(self, prepared: Data) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        with torch.no_grad(), self._hooks(outputs):
            self.encoder.embed(prepared)
        for name in self.modules:
            if name not in outputs:
                raise ConfigError(
                    f"layer {name!r} takes no part in the encoder's embedding; choose another layer"
                )
        return outputs

    @contextlib.contextmanager
    def _hooks(self, outputs: dict[str, Tensor]) -> Iterator[None]:
        def keep(name: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                outputs[name] = output if isinstance(output, Tensor) else output[0]

            return hook

        # Removed after each call, so that an encoder that is trained on carries none.
        with contextlib.ExitStack() as stack:
            for name, module in self.modules.items():
                stack.callback(module.register_forward_hook(keep(name)).remove)
            yield


def pooled(output: Tensor, *, channels_last: bool = False) -> Tensor:
    """Return `[N, D]`, the mean over positions of a layer's output.

    Args:
        output: a map `[N, D, h, w]`, or `[N, h, w, D]` as Swin's; tokens `[N, T, D]`, all of them;
            or `[N, D]`, which stays. Of a square image maps are square too: the two equal sides
            tell which axis holds the channels, also of a channels-first convolution within a model
            of the other kind.
        channels_last: where they are where the sides do not tell, as timm's models say by
            `output_fmt`.
    """
    if output.ndim == 4:
        last = _has_channels_last(output, channels_last)
        return output.mean((1, 2)) if last else output.mean((2, 3))
    return output.mean(1) if output.ndim == 3 else output


def _has_channels_last(output: Tensor, stated: bool) -> bool:
    """Return whether a map is `[N, h, w, D]`; `stated` counts where its shape does not tell."""
    _, first, middle, last = output.shape
    return first == middle if (first == middle) != (middle == last) else stated
