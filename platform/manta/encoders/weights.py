"""Weights of an encoder in a file of Manta, by the keys of timm's own model where there is one."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from manta.encoders._protocols import Encoder
from manta.encoders.sources import FOLDER, TIMM_DESCRIPTION, WEIGHTS
from manta.errors import ConfigError


def own_weights(pretrained: bool | str) -> Path | None:
    """Return the file of weights that only Manta can load, or None where timm loads them.

    Raises:
        ConfigError: there are no weights in the folder.
    """
    if not isinstance(pretrained, str) or not pretrained.startswith(FOLDER):
        return None
    folder = Path(pretrained.removeprefix(FOLDER))
    if not folder.is_dir():
        raise ConfigError(f"encoder.pretrained: there is no folder {folder}")
    if (folder / TIMM_DESCRIPTION).is_file():
        return None
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"encoder.pretrained: there is no {WEIGHTS} in {folder}")
    return folder / WEIGHTS


def load_into(encoder: Encoder, file: Path) -> None:
    """Load the weights of a file into an encoder; nothing is unpickled.

    Raises:
        ConfigError: they are another encoder's.
    """
    try:
        weighted(encoder).load_state_dict(safetensors.torch.load_file(file))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"encoder.pretrained: the weights in {file} do not fit this encoder: {reason}"
        ) from None


def saved_state(encoder: Encoder) -> dict[str, Tensor]:
    """Return the weights that are saved, by their keys.

    An objective's vector of hidden tokens is not among them: the encoder is built without it.
    """
    state = weighted(encoder).state_dict()
    return {key: value for key, value in state.items() if key != "hidden_token"}


def weighted(encoder: Encoder) -> nn.Module:
    """Return the module whose keys are saved: timm's own model where there is one.

    One file so serves both loaders, Manta's and timm's.
    """
    model = getattr(encoder, "model", None)
    return model if isinstance(model, nn.Module) else encoder
