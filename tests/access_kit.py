"""What evaluators of encoders are tested on: an encoder, and digits or other images to try it
on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from conformance.objective_kit import SIZE, VIT, labels, pictures
from manta import encoders
from manta.encoders import Encoder, EncoderConfig
from manta.evaluators import EncoderAccess, Features, LabelledData
from manta.ragged import Leaves, dense
from manta.spec import Spec

MEAN, STD = 0.3, 0.4


class Pixels(Encoder):
    """Prepared pixels as features, four by four of them together."""

    embed_dim = 3 * (SIZE // 4) ** 2

    def embed(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4).flatten(1)


def small_encoder(kind: Literal["resnet", "vit"], *, seed: int = 0) -> Encoder:
    """An untrained one for 32 px, in evaluation mode; BatchNorm has statistics that a fresh one
    does not have."""
    torch.manual_seed(seed)
    config = (
        EncoderConfig(name="test_resnet")
        if kind == "resnet"
        else EncoderConfig(name="vit_tiny_patch16_224", args=VIT)
    )
    encoder = encoders.build(config, Spec.image(SIZE))
    with torch.no_grad():
        encoder.train()(prepare(pictures()[:256]))
    return encoder.eval()


def prepare(images: Tensor) -> Tensor:
    return (images.float() / 255 - MEAN) / STD


def prepared(data: Leaves) -> Tensor:
    return prepare(dense(data, "image"))


def access_of(
    encoder: Encoder,
    *,
    bank: int = 300,
    queries: int = 200,
    labelled: bool = True,
    batch: int = 128,
    shown: tuple[Tensor, Tensor] | None = None,
) -> tuple[EncoderAccess, Features]:
    """The encoder and its features of the first `bank` digits, and of the `queries` digits after
    them.

    Args:
        shown: images and labels in place of the digits.
    """
    images, numbers = (pictures(), labels()) if shown is None else shown
    parts = {"bank": slice(0, bank), "queries": slice(bank, bank + queries)}

    def rows(split: Literal["bank", "queries"], limit: int | None = None) -> Iterator[LabelledData]:
        pixels, truth = images[parts[split]][:limit], numbers[parts[split]][:limit]
        for cut in range(0, len(pixels), batch):
            here = slice(cut, cut + batch)
            yield {"image": pixels[here]}, truth[here] if labelled else None

    access = EncoderAccess(encoder, prepared, images.shape[-1], torch.device("cpu"), rows)
    found = {
        split: torch.cat([access.embed(data) for data, _ in rows(split)])
        for split in ("bank", "queries")
    }
    truths = (numbers[parts["bank"]], numbers[parts["queries"]]) if labelled else (None, None)
    return access, Features(found["bank"], found["queries"], *truths)
