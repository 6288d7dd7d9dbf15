"""The transformer of token numbers: padding reaches nothing, and what objectives ask of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from manta import encoders
from manta.encoders import EncoderConfig
from manta.encoders._protocols import HidingEncoder, PatchEncoder, TokenEncoder
from manta.encoders.layers import LayerReader
from manta.encoders.transformer import Transformer
from manta.errors import ConfigError
from manta.ragged import Ragged
from manta.spec import Spec

SPEC = Spec("ids", 1, (16,), 50)
LENGTHS = [5, 16, 1, 9]
KINDS = [{}, {"pool": "first", "positions": "learnt"}]


def encoder(spec: Spec = SPEC, **args: Any) -> Transformer:
    torch.manual_seed(0)
    small = {"dim": 16, "depth": 2, "heads": 2}
    one = encoders.build(EncoderConfig(name="transformer", args=small | args), spec)
    assert isinstance(one, Transformer)
    return one.eval()


def rows() -> Ragged:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(50, (sum(LENGTHS),), generator=generator)
    return Ragged(values, torch.tensor(LENGTHS))


@pytest.mark.parametrize("args", KINDS)
def test_a_row_gives_the_same_alone_and_in_any_batch(args: dict[str, Any]) -> None:
    one, ids = encoder(**args), rows()
    whole = one(ids)
    assert whole.shape == (4, 16)
    for place in range(4):
        alone = one(ids.rows(slice(place, place + 1)))[0]
        torch.testing.assert_close(alone, whole[place], rtol=1e-5, atol=1e-6)
    padded, _ = ids.padded(-1, least=40)
    torch.testing.assert_close(one(padded), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("args", KINDS)
def test_padding_has_no_gradient(args: dict[str, Any]) -> None:
    one = encoder(**args)
    embedded = one.entry.weight
    # Number 7 stands only where rows have ended, as far as the tensor goes.
    padded = torch.full((2, 12), -1)
    padded[0, :4], padded[1, :9] = torch.arange(10, 14), torch.arange(20, 29)
    one(padded).square().sum().backward()
    assert embedded.grad is not None
    touched = embedded.grad.abs().sum(1).nonzero().flatten().tolist()
    assert touched == [*range(10, 14), *range(20, 29)]


def test_every_parameter_is_reached() -> None:
    for args in KINDS:
        one = encoder(**args)
        one(rows()).square().sum().backward()
        assert all(parameter.grad is not None for parameter in one.parameters())


def test_the_start_is_berts() -> None:
    one = encoder(dim=64, depth=1)
    assert float(one.entry.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    block: Any = one.blocks[0]
    assert float(block.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not block.qkv.bias.any()


def test_dropout_makes_two_passes_differ_in_training_alone() -> None:
    one = encoder(dropout=0.2)
    assert torch.equal(one(rows()), one(rows()))
    one.train()
    assert not torch.equal(one(rows()), one(rows()))


def test_the_order_of_tokens_counts() -> None:
    for args in ({}, {"positions": "learnt"}):
        one = encoder(**args)
        assert not torch.allclose(one(torch.tensor([[1, 2, 3]])), one(torch.tensor([[3, 2, 1]])))


def test_tokens_can_be_hidden_and_layers_read() -> None:
    one = encoder(pool="first")
    assert isinstance(one, TokenEncoder)
    assert isinstance(one, HidingEncoder)
    assert not isinstance(one, PatchEncoder)  # a number has no content to draw again
    ids = rows()
    hide = torch.zeros(4, 20, dtype=torch.bool)
    hide[:, 0] = True
    with pytest.raises(RuntimeError, match="learn_hidden"):
        one.tokens(ids, hide=hide)
    one.learn_hidden()
    other = Ragged(ids.values.clone(), ids.lengths)
    other.values[0] = (other.values[0] + 1) % 50
    seen, changed = one.tokens(ids, hide=hide), one.tokens(other, hide=hide)
    assert seen.shape == (4, 17, 16)
    torch.testing.assert_close(seen, changed)
    layers = one.layers(ids, hide)
    assert [layer.shape for layer in layers] == [(4, 16, 16)] * 2
    assert (
        one.token_lengths(ids).tolist() == one.token_lengths(ids.padded(-1)[0]).tolist() == LENGTHS
    )


def test_chosen_tokens_keep_their_places() -> None:
    one = encoder()
    ids = torch.tensor([[1, 2, 3, 4]])
    keep = torch.tensor([[2, 0]])
    assert one.tokens(ids, keep).shape == (1, 2, 16)
    swapped = one.tokens(ids, keep.flip(1)).flip(1)
    torch.testing.assert_close(one.tokens(ids, keep), swapped)


@pytest.mark.parametrize("args", KINDS)
def test_a_layer_is_pooled_over_the_tokens_of_each_row(args: dict[str, Any]) -> None:
    one, ids = encoder(**args), rows()
    reader = LayerReader(one)
    whole = reader(ids)
    assert list(whole) == ["blocks.0", "blocks.1"]
    for place in range(4):
        alone: dict[str, Tensor] = reader(ids.rows(slice(place, place + 1)))
        for name, features in alone.items():
            torch.testing.assert_close(features[0], whole[name][place], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="positions"):
        encoder(Spec("ids", 1, (None,), 50), positions="learnt")
    with pytest.raises(ConfigError, match=r"args.*multiple of heads"):
        encoder(dim=10, heads=4)
