"""What methods that hide tokens have in common: which encoder they need, and what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from manta.batch import View
from manta.encoders import Encoder, HidingEncoder, TokenEncoder
from manta.errors import ConfigError
from manta.objectives._parts import freeze_unreached
from manta.ragged import Ragged
from manta.spec import Spec


@dataclass(frozen=True, slots=True)
class TokenView:
    """The tokens of a view.

    Attributes:
        there: `[N, T]` bool, which ones belong to their row, and are no padding.
        hidden: `[N, T]` bool, which of these are hidden.
        begins, ends: `[N, T]` float64, of a view of one axis, where each token begins and where the
            next one does, as a share of the view.
    """

    there: Tensor
    hidden: Tensor
    begins: Tensor
    ends: Tensor


def hiding_encoder(
    name: str, encoder: Encoder, spec: Spec, *, axes: int | None = None
) -> HidingEncoder:
    """Return an encoder with a learnt vector for hidden tokens.

    What its tokens do not depend on, such as a pooling, is frozen.

    Args:
        spec: of its input.
        axes: of the grid of its tokens; None: any number.

    Raises:
        ConfigError: it has no such tokens.
    """
    is_hiding = isinstance(encoder, HidingEncoder) and isinstance(encoder, TokenEncoder)
    if is_hiding and axes in (None, len(cast(TokenEncoder, encoder).grid)):
        hiding = cast(HidingEncoder, encoder)
        hiding.learn_hidden()
        example = spec.example(2)
        with torch.no_grad():
            shape = hidden_tokens(encoder, example, None).shape[:2]
        half = torch.arange(shape[1]).expand(shape) % 2 == 0
        freeze_unreached(encoder, hidden_tokens(encoder, example, half))
        return hiding
    if axes == 1:
        raise ConfigError(
            f"objective.name={name} needs an encoder of frames over time, such as "
            "encoder.name=wave of waveforms (data.modality=audio data.mels=null)"
        )
    raise ConfigError(
        f"objective.name={name} needs an encoder whose tokens can be hidden: a vision transformer, "
        "or encoder.name=wave, patchtst or transformer"
    )


def hidden_tokens(encoder: Encoder, x: Any, hidden: Tensor | None) -> Tensor:
    """Return an encoder's tokens, of which some are hidden, without those before the patches."""
    prefix = cast(TokenEncoder, encoder).prefix_tokens
    return cast(HidingEncoder, encoder).tokens(x, hide=hidden)[:, prefix:]


def token_view(name: str, encoder: Encoder, view: View) -> TokenView:
    """Return which tokens of a view there are and which are hidden, each row with its own length.

    Raises:
        ConfigError: the view has no mask.
    """
    if view.mask is None:
        raise ConfigError(
            f"objective.name={name} was given a view without a mask; build the views from the "
            "objective's `needs`"
        )
    mask, device = view.mask, view.mask.device
    counted = getattr(encoder, "token_lengths", None)
    if counted is None:  # of a grid: all rows have all tokens
        lengths = torch.full((len(mask),), mask.shape[1], device=device)
    else:
        lengths = counted(view.data)
        mask = mask[:, : int(lengths.max())]
    places = torch.arange(mask.shape[1], device=device)
    there = places < lengths.unsqueeze(1)
    begins, ends = (_share(encoder, view.data, places + more) for more in (0, 1))
    return TokenView(there, mask & there, begins, ends)


def _share(encoder: Encoder, data: Any, numbers: Tensor) -> Tensor:
    """Return where tokens of these numbers begin, as a share of each row, `[N, T]`."""
    size = cast(TokenEncoder, encoder).patch_size[-1]
    if isinstance(data, Ragged):
        return numbers * size / data.lengths.double().unsqueeze(1)
    return (numbers * size / float(data.shape[-1])).double().expand(len(data), -1)
