"""Features from inside an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from manta.errors import ConfigError
from manta.evaluators._layers import find
from manta.serving.export import ExportedEncoder


class FeatureReader(nn.Module):
    """`[N, 3, resize, resize]` uint8 -> `[N, D]`: the pooled embedding, or the mean over positions
    of a layer's output.

    Args:
        layer: name of a submodule of the encoder, such as `layer3` or `blocks.5`; None: the pooled
            embedding.

    Raises:
        ConfigError: the encoder has no such layer.
    """

    def __init__(self, exported: ExportedEncoder, layer: str | None = None) -> None:
        super().__init__()
        self.preprocess = exported.preprocess
        self.encoder = exported.encoder
        self.layer = layer
        self.eval()
        if layer is not None:
            find(self.encoder, layer).register_forward_hook(self._keep)
        self._seen: Tensor | None = None
        side = self.preprocess.resize
        with torch.inference_mode():
            self.width = int(self(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        ready = self.preprocess.ready(images)
        pooled = self.encoder.embed(ready.contiguous(memory_format=torch.channels_last))
        if self.layer is None:
            return pooled
        seen, self._seen = self._seen, None
        if seen is None:
            raise ConfigError(
                f"layer {self.layer!r} takes no part in the encoder's embedding; choose another --layer"
            )
        if seen.ndim == 4:  # [N, D, h, w], or Swin's [N, h, w, D]; views are square
            return (
                seen.mean((1, 2))
                if seen.shape[1] == seen.shape[2] != seen.shape[3]
                else seen.mean((2, 3))
            )
        return seen.mean(1) if seen.ndim == 3 else seen

    def _keep(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._seen = output if isinstance(output, Tensor) else output[0]
