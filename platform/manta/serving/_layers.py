"""Features of a saved encoder, from its output or from one of its layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manta.encoders.layers import LayerReader
from manta.ragged import Leaves, sampled
from manta.serving.export import ExportedEncoder


class FeatureReader(nn.Module):
    """Module from decoded rows to features `[N, D]`.

    Args:
        layer: submodule of the encoder, such as `layer3` or `blocks.5`, whose pooled output is
            returned; None: the pooled embedding.

    Raises:
        ConfigError: the encoder has no such layer, or it takes no part in the embedding.
    """

    def __init__(self, exported: ExportedEncoder, layer: str | None = None) -> None:
        super().__init__()
        self.preprocess = exported.preprocess
        self.encoder = exported.encoder
        self.layer = layer
        self.eval()
        self._reader = None if layer is None else LayerReader(self.encoder, [layer])
        # Embed one row, to find the width and so that a wrong layer fails here.
        layout = self.preprocess.decoder().layout
        with torch.inference_mode():
            self.width = int(self(sampled(layout, 1, torch.Generator())).shape[1])

    def forward(self, data: Leaves) -> Tensor:
        """Return the features of decoded rows."""
        prepared = self.preprocess.ready(data)
        if isinstance(prepared, Tensor) and prepared.ndim == 4:
            prepared = prepared.contiguous(memory_format=torch.channels_last)
        if self._reader is None or self.layer is None:
            return self.encoder.embed(prepared)
        return self._reader(prepared)[self.layer]
