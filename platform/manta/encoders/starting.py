"""Weights of a saved encoder in another one, as far as they fit: the start of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from manta.encoders._protocols import Encoder
from manta.encoders.sources import WEIGHTS
from manta.encoders.weights import weighted
from manta.errors import ConfigError

MOST_NAMED = 3
"""Tensors that `Fit.sentence` names; the others it counts."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What became of an encoder's tensors.

    Attributes:
        fitted: names of those that were loaded, counters of BatchNorm not among them.
        resampled: names among them whose values were interpolated to another shape.
        unfitted: name of each other one, and why.
    """

    fitted: tuple[str, ...]
    resampled: tuple[str, ...]
    unfitted: Mapping[str, str]

    def sentence(self, start: str) -> str:
        """Return a line on what was taken from the model that `start` names."""
        total = len(self.fitted) + len(self.unfitted)
        line = f"started from {start}: {len(self.fitted)} of {total} tensors"
        if self.resampled:
            line += f" ({_some(list(self.resampled))} resampled)"
        if self.unfitted:
            named = [f"{name} ({why})" for name, why in self.unfitted.items()]
            line += f"; not fitted: {_some(named)}"
        return line


@torch.no_grad()
def load_fitting(encoder: Encoder, folder: Path, *, start: str) -> Fit:
    """Load into an encoder, in place, what fits of the weights in a saved encoder's folder.

    A tensor fits where name and shape agree, or where timm resamples it to the shape, as it does
    position embeddings. Nothing is drawn and nothing unpickled; the others stay as they are.

    Args:
        start: what the user called the model, for messages.

    Raises:
        ConfigError: nothing fits, or the file of weights cannot be read.
    """
    try:
        given = safetensors.torch.load_file(folder / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(f"encoder.start: no weights can be read from {start}: {reason}") from None
    model = weighted(encoder)
    own: dict[str, Tensor] = model.state_dict()
    resampled = _resampled(model, own, given)
    taken = given | resampled
    fitting = {name: taken[name] for name in own if name in taken and _same(own, taken, name)}
    model.load_state_dict(fitting, strict=False)
    # A counter of BatchNorm's batches has no shape: it fits every network that has one.
    tensors = [name for name, tensor in own.items() if tensor.ndim]
    fitted = tuple(name for name in tensors if name in fitting)
    if not fitted:
        raise ConfigError(
            f"encoder.start: none of the {len(tensors)} tensors of this encoder are in {start}, "
            "which is another architecture; set encoder.name to that of the start"
        )
    unfitted = {name: _why(own, given, name) for name in tensors if name not in fitting}
    return Fit(fitted, tuple(name for name in resampled if name in fitting), unfitted)


def _resampled(
    model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of other shapes that timm knows how to resample for this family."""
    other = [name for name in own if name in given and not _same(own, given, name)]
    module = sys.modules[type(model).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if not other or convert is None:
        return {}
    try:
        converted = convert(dict(given), model)
    except Exception:  # timm's families fail in as many ways; what they cannot do stays unfitted
        return {}
    return {
        name: converted[name].contiguous()
        for name in other
        if name in converted and _same(own, converted, name)
    }


def _same(own: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str) -> bool:
    return own[name].shape == given[name].shape


def _why(own: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str) -> str:
    if name not in given:
        return "not there"
    return f"{list(given[name].shape)} there, {list(own[name].shape)} here"


def _some(words: list[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
