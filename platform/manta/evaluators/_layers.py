"""What the layers of an encoder say on the way to its embedding."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from manta.encoders import Encoder
from manta.encoders.concatenation import Concatenation
from manta.errors import ConfigError

PART = re.compile(r"parts\.(?P<number>\d+)\.(?P<rest>.+)")


def stages(encoder: Encoder) -> dict[str, int]:
    """Names of an encoder's stages or blocks, first to last, each with the channels of its output,
    as timm lists them; of a concatenation its last part's.

    Raises:
        ConfigError: the encoder is not timm's.
    """
    if isinstance(encoder, Concatenation):
        return stages(cast(Encoder, encoder.parts[-1]))
    listed = getattr(getattr(encoder, "model", None), "feature_info", None)
    if not listed:
        raise ConfigError(
            "this encoder does not say which layers it has; name them by the evaluator's layers=[...]"
        )
    return {str(stage["module"]): int(stage["num_chs"]) for stage in listed}


def find(encoder: nn.Module, name: str) -> nn.Module:
    """A submodule such as `layer3` or `blocks.5.attn.proj`; of a concatenation `parts.0.layer3`, or
    its last part's.

    What names a layer of a concatenation names one of its untrained start too, which is one such
    part.

    Raises:
        ConfigError: the encoder has none of that name.
    """
    asked = PART.fullmatch(name)
    if isinstance(encoder, Concatenation):
        if asked is None:
            return find(encoder.parts[-1], name)
        if int(asked["number"]) >= len(encoder.parts):
            raise ConfigError(
                f"the encoder has no layer {name!r}; it has {len(encoder.parts)} parts"
            )
        return find(encoder.parts[int(asked["number"])], asked["rest"])
    root: nn.Module = getattr(encoder, "model", encoder)
    names = [known for known, _ in root.named_modules() if known]
    if asked is not None and name not in names:
        name = asked["rest"]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or [
            known for known in names if "." not in known
        ]
        raise ConfigError(f"the encoder has no layer {name!r}; such as {', '.join(near[:8])}")
    return root.get_submodule(name)


class LayerReader:
    """Pooled outputs of an encoder's layers, `[N, D]` each.

    Args:
        layers: names of submodules; None: every stage or block that timm lists.
    """

    def __init__(self, encoder: Encoder, layers: Sequence[str] | None = None) -> None:
        self.encoder = encoder
        # Without a list, channels are taken to come first.
        self.channels: dict[str, int | None] = (
            dict(stages(encoder)) if layers is None else dict.fromkeys(layers)
        )
        self.modules = {name: find(encoder, name) for name in self.channels}

    def __call__(self, prepared: Tensor) -> dict[str, Tensor]:
        """Of what the encoder takes; by name, float32, without gradients.

        Raises:
            ConfigError: a layer takes no part in the embedding.
        """
        seen: dict[str, Tensor] = {}
        with torch.no_grad(), self._hooks(seen):
            self.encoder.embed(prepared)
        for name in self.modules:
            if name not in seen:
                raise ConfigError(
                    f"layer {name!r} takes no part in the encoder's embedding; leave it out"
                )
        return {name: pooled(seen[name], self.channels[name]).float() for name in self.modules}

    @contextlib.contextmanager
    def _hooks(self, seen: dict[str, Tensor]) -> Iterator[None]:
        def keep(name: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                seen[name] = output if isinstance(output, Tensor) else output[0]

            return hook

        with contextlib.ExitStack() as stack:
            for name, module in self.modules.items():
                stack.callback(module.register_forward_hook(keep(name)).remove)
            yield


def pooled(output: Tensor, channels: int | None = None) -> Tensor:
    """The mean over positions: `[N, D, h, w]`, `[N, h, w, D]` where only the last axis has
    `channels`, `[N, T, D]`, or `[N, D]` as it is."""
    if output.ndim == 4:
        last = channels is not None and output.shape[1] != channels and output.shape[3] == channels
        return output.mean((1, 2)) if last else output.mean((2, 3))
    return output.mean(1) if output.ndim == 3 else output
