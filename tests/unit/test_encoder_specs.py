"""Encoders of other input than RGB squares: grids of any sides, sequences, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from manta.encoders import (
    ENCODERS,
    DenseEncoder,
    Encoder,
    EncoderConfig,
    HidingEncoder,
    PatchEncoder,
    TokenEncoder,
    build,
    check_fits,
)
from manta.encoders.timm import TimmTransformer, arguments
from manta.errors import ConfigError
from manta.functional import patchify
from manta.ragged import Ragged
from manta.spec import Spec

SPECTROGRAM = Spec("grid", 1, (64, 80))
SMALL = {"embed_dim": 32, "depth": 3, "num_heads": 2}
VIT = EncoderConfig(name="vit_tiny_patch16_224", stem="small", args=SMALL)


def vit(spec: Spec = SPECTROGRAM) -> TimmTransformer:
    torch.manual_seed(0)
    encoder = build(VIT, spec).eval()
    assert isinstance(encoder, TimmTransformer)
    return encoder


@pytest.mark.parametrize(
    ("config", "cells"),
    [
        (EncoderConfig(name="resnet10t", stem="small"), (8, 10)),
        (EncoderConfig(name="test_resnet"), (2, 3)),
        (VIT, (8, 10)),
        (EncoderConfig(name="swin_tiny_patch4_window7_224"), (2, 3)),
    ],
    ids=["resnet10t", "test_resnet", "vit", "swin"],
)
def test_timm_takes_one_channel_and_unequal_sides(
    config: EncoderConfig, cells: tuple[int, int]
) -> None:
    encoder = build(config, SPECTROGRAM)
    check_fits(encoder, config, SPECTROGRAM)
    x = torch.randn(2, 1, 64, 80)
    assert encoder(x).shape == (2, encoder.embed_dim)
    assert isinstance(encoder, DenseEncoder)
    assert tuple(encoder.feature_map(x).shape[2:]) == cells
    encoder(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_tokens_of_unequal_sides_make_a_map_of_the_same_ratio() -> None:
    encoder: Any = build(EncoderConfig(name="eva02_tiny_patch14_224"), Spec("grid", 1, (28, 70)))
    assert encoder.feature_map(torch.randn(1, 1, 28, 70)).shape[2:] == (2, 5)


def test_the_arguments_of_a_grid_are_enough_for_timm() -> None:
    assert arguments(EncoderConfig(name="resnet18"), SPECTROGRAM) == {"in_chans": 1}
    given = arguments(VIT, SPECTROGRAM)
    assert (given["in_chans"], given["img_size"], given["patch_size"]) == (1, (64, 80), 8)


def test_channels_that_are_not_the_datas_are_refused() -> None:
    with pytest.raises(ConfigError, match="in_chans: the data have 1 channels"):
        build(EncoderConfig(name="resnet18", args={"in_chans": 3}), SPECTROGRAM)


@pytest.mark.parametrize("name", ["conv_autoencoder", "scatnet", "concatenation"])
def test_other_encoders_take_other_channels(name: str) -> None:
    spec = Spec("grid", 2, (32, 32))
    part = {"encoder": {"name": "test_resnet"}, "count": 2}
    encoder = build(EncoderConfig(name=name, args=part if name == "concatenation" else {}), spec)
    assert encoder(torch.randn(2, 2, 32, 32)).shape == (2, encoder.embed_dim)
    with pytest.raises(ConfigError, match="sequences of 2 x any"):
        build(EncoderConfig(name=name, args=part if name == "concatenation" else {}), SEQUENCE)


def test_patches_are_the_content_of_tokens() -> None:
    encoder = vit()
    assert isinstance(encoder, TokenEncoder)
    assert isinstance(encoder, PatchEncoder)
    assert (encoder.grid, encoder.patch_size) == ((8, 10), (8, 8))
    x = torch.randn(2, 1, 64, 80)
    patches = encoder.patches(x)
    assert patches.shape == (2, 80, 64)
    torch.testing.assert_close(patches[1, 13].view(8, 8), x[1, 0, 8:16, 24:32])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_patches_of_any_number_of_axes(axes: int) -> None:
    x = torch.arange(2 * 3 * 4**axes).view(2, 3, *[4] * axes)
    patches = patchify(x, (2,) * axes)
    assert patches.shape == (2, 2**axes, 3 * 2**axes)
    last = x[(slice(None), slice(None), *[slice(2, 4)] * axes)]
    assert torch.equal(patches[:, -1], last.flatten(1))


def test_layers_are_the_blocks_outputs() -> None:
    encoder = vit()
    assert isinstance(encoder, HidingEncoder)
    x = torch.randn(2, 1, 64, 80)
    layers = encoder.layers(x)
    assert [tuple(layer.shape) for layer in layers] == [(2, 80, 32)] * 3
    tokens = encoder.tokens(x)[:, encoder.prefix_tokens :]
    torch.testing.assert_close(encoder.model.norm(layers[-1]), tokens)


def test_a_hidden_token_is_one_learnt_vector_whatever_lies_below() -> None:
    encoder = vit()
    hide = torch.zeros(2, 80, dtype=torch.bool)
    hide[0, 5], hide[1, 77] = True, True
    x = torch.randn(2, 1, 64, 80)
    with pytest.raises(RuntimeError, match="learn_hidden"):
        encoder.tokens(x, hide=hide)
    keys = list(encoder.state_dict())
    encoder.learn_hidden()
    encoder.learn_hidden()
    assert sorted(set(encoder.state_dict()) - set(keys)) == ["hidden_token"]
    changed = x.clone()
    changed[0, :, 0:8, 40:48] += 1  # patch 5
    changed[1, :, 56:64, 56:64] -= 1  # patch 77
    assert not torch.allclose(encoder.tokens(x), encoder.tokens(changed))
    torch.testing.assert_close(encoder.tokens(x, hide=hide), encoder.tokens(changed, hide=hide))
    for layer, other in zip(encoder.layers(x, hide), encoder.layers(changed, hide), strict=True):
        torch.testing.assert_close(layer, other)
    nothing = torch.zeros_like(hide)
    assert torch.equal(encoder.tokens(x, hide=nothing), encoder.tokens(x))
    encoder.layers(x, hide)[-1].sum().backward()
    assert encoder.hidden_token is not None
    assert encoder.hidden_token.grad is not None


SEQUENCE = Spec("sequence", 2, (None,))


class Pooled(Encoder):
    """The mean of a sequence, and a layer on top."""

    takes = ("sequence",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed_dim = 8
        self.layer = nn.Linear(channels, 8)

    def embed(self, x: Ragged) -> Tensor:
        values, there = x.padded()
        each = self.layer(values) * there.unsqueeze(2)
        return each.sum(1) / there.sum(1, keepdim=True)


@pytest.fixture
def registered() -> Iterator[Any]:
    """Register factories under `own`, which are forgotten after the test."""
    yield lambda factory: ENCODERS.register("own")(factory)
    ENCODERS._components.pop("own", None)


def test_a_users_encoder_of_sequences_is_found_and_named(registered: Any) -> None:
    def own(config: EncoderConfig, spec: Spec) -> Pooled:
        return Pooled(spec.channels)

    registered(own)
    encoder = build(EncoderConfig(name="own"), SEQUENCE)
    check_fits(encoder, EncoderConfig(name="own"), SEQUENCE)
    with pytest.raises(ConfigError) as refusal:
        build(EncoderConfig(name="resnet18"), SEQUENCE)
    said = str(refusal.value)
    assert said.startswith("encoder.name=resnet18 takes grids, and data.modality gives sequences")
    assert "encoder.name=" in said.partition("; try ")[2]
    assert "\n" not in said
    with pytest.raises(ConfigError, match=r"encoder.name=own takes sequences, and .* grids of 3 x"):
        build(EncoderConfig(name="own"), Spec.image(32))


def test_a_factory_that_does_not_say_what_it_takes_is_asked_by_its_encoder(registered: Any) -> None:
    registered(lambda config, spec: Pooled(spec.channels or 2))
    assert build(EncoderConfig(name="own"), SEQUENCE).embed_dim == 8
    with pytest.raises(ConfigError, match=r"takes sequences, and .* gives token numbers"):
        build(EncoderConfig(name="own"), Spec("ids", vocabulary=10))


def by_name(config: EncoderConfig, image_size: Any) -> Encoder:
    assert image_size == 48
    return build(EncoderConfig(name="test_resnet"), Spec.image(image_size))


def by_type(config: EncoderConfig, side: int) -> Encoder:
    return by_name(config, side)


@pytest.mark.parametrize("factory", [by_name, by_type])
def test_a_factory_of_before_gets_the_side_of_images(registered: Any, factory: Any) -> None:
    registered(factory)
    assert build(EncoderConfig(name="own"), Spec.image(48)).embed_dim > 0
    with pytest.raises(ConfigError, match=r"own takes square RGB images, .* grids of 1 x 64 x 80"):
        build(EncoderConfig(name="own"), SPECTROGRAM)


def test_a_trial_of_other_data_speaks_of_them() -> None:
    class Broken(Pooled):
        def embed(self, x: Ragged) -> Tensor:
            return super().embed(x)[:, :4]

    with pytest.raises(ConfigError) as refusal:
        check_fits(Broken(2), EncoderConfig(name="own"), SEQUENCE)
    assert "cannot take sequences of 2 x any (it gives [4] numbers of a sample" in str(
        refusal.value
    )
    assert "image" not in str(refusal.value)


def test_a_grid_of_three_sides_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"resnet18 takes grids of two known sides, .* 8 x 8 x 8"):
        build(EncoderConfig(name="resnet18"), Spec("grid", 1, (8, 8, 8)))
