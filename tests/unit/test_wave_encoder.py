"""The encoder of waves: its layers against torch's own, padding, hidden and kept frames."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from manta import encoders
from manta.encoders import EncoderConfig, HidingEncoder, PatchEncoder, TokenEncoder
from manta.encoders.layers import LayerReader
from manta.encoders.wave import Wave
from manta.errors import ConfigError
from manta.ragged import Ragged
from manta.spec import Spec

SMALL: dict[str, Any] = {
    "channels": 8,
    "kernels": (4, 3),
    "strides": (2, 2),
    "positions": 5,
    "groups": 4,
    "dim": 16,
    "depth": 2,
    "heads": 2,
}
VARIANTS: list[dict[str, Any]] = [{}, {"norm": "layer", "order": "pre"}]
each_variant = pytest.mark.parametrize("args", VARIANTS, ids=["base", "large"])


def make(length: int | None = 40, **args: Any) -> Wave:
    torch.manual_seed(0)
    config = EncoderConfig(name="wave", args=SMALL | args)
    encoder = encoders.build(config, Spec("sequence", 1, (length,)))
    assert isinstance(encoder, Wave)
    for parameter in encoder.parameters():  # norms and biases of their own
        nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.3)
    return encoder.double().eval()


def waves(rows: int = 3, length: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 1, length, generator=generator, dtype=torch.float64)


def expected(encoder: Wave, x: Tensor, args: dict[str, Any]) -> Tensor:
    """Return the frames as torch's own modules make them."""
    is_base = not args
    convolutions = encoder.convolutions
    frames = F.pad(x, (0, 4))  # (4 - 1) + 2 * (3 - 1) + 1 values reach a frame, and it moves by 4
    for i, layer in enumerate(convolutions.layers):
        frames = F.conv1d(frames, layer.weight, stride=2)
        if is_base and i == 0:
            norm = convolutions.norms[0]
            instance = nn.InstanceNorm1d(8, affine=True).double()
            instance.load_state_dict(norm.state_dict())
            frames = instance(frames)
        elif not is_base:
            frames = convolutions.norms[i](frames.transpose(1, 2)).transpose(1, 2)
        frames = F.gelu(frames)
    frames = encoder.entry(frames.transpose(1, 2))
    positions = weight_norm(nn.Conv1d(16, 16, 5, padding=2, groups=4), dim=2).double()
    with torch.no_grad():
        positions.bias.copy_(encoder.positions.bias)
        positions.parametrizations.weight.original0.copy_(encoder.positions.length)
        positions.parametrizations.weight.original1.copy_(encoder.positions.direction)
    frames = frames + F.gelu(positions(frames.transpose(1, 2))).transpose(1, 2)
    frames = encoder.norm(frames) if is_base else frames
    for block in encoder.blocks:
        layer = nn.TransformerEncoderLayer(
            16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=not is_base
        ).double()
        named = {
            "self_attn.in_proj_weight": block.qkv.weight,
            "self_attn.in_proj_bias": block.qkv.bias,
            "self_attn.out_proj.weight": block.out.weight,
            "self_attn.out_proj.bias": block.out.bias,
            **{f"linear1.{name}": value for name, value in block.mlp[0].named_parameters()},
            **{f"linear2.{name}": value for name, value in block.mlp[3].named_parameters()},
            **{f"norm1.{name}": value for name, value in block.norm1.named_parameters()},
            **{f"norm2.{name}": value for name, value in block.norm2.named_parameters()},
        }
        layer.load_state_dict(named)
        frames = layer(frames)
    return frames if is_base else encoder.norm(frames)


@each_variant
def test_it_is_what_torchs_own_layers_compute(args: dict[str, Any]) -> None:
    encoder = make(**args)
    tokens = encoder.tokens(waves())
    assert tokens.shape == (3, *encoder.grid, 16) == (3, 10, 16)
    torch.testing.assert_close(tokens, expected(encoder, waves(), args))
    torch.testing.assert_close(encoder(waves()), tokens.mean(1))
    layers = encoder.layers(waves())
    assert len(layers) == 2
    last = encoder.norm(layers[-1]) if encoder.is_pre else layers[-1]
    torch.testing.assert_close(last, tokens)


@each_variant
def test_padding_reaches_nothing(args: dict[str, Any]) -> None:
    encoder = make(None, dropout=0.0, **args)
    lengths = torch.tensor([40, 3, 17, 9, 4])
    ragged = Ragged(waves(1, int(lengths.sum()))[0].T, lengths)
    together, frames = encoder(ragged), encoder.token_lengths(ragged)
    assert frames.tolist() == [10, 1, 4, 2, 1]
    rows = [row.T[None] for row in torch.split(ragged.values, lengths.tolist())]
    torch.testing.assert_close(together, torch.cat([encoder(row) for row in rows]))
    hide = torch.arange(10).expand(5, 10) % 3 == 0
    for layer, row in zip(encoder.layers(ragged)[1], rows, strict=True):
        count = max(row.shape[2] // 4, 1)
        torch.testing.assert_close(layer[:count], encoder.layers(row)[1][0])
    encoder.learn_hidden()
    encoder.double()
    hidden = encoder.tokens(ragged, hide=hide)
    for tokens, row, own in zip(hidden, rows, hide, strict=True):
        count = max(row.shape[2] // 4, 1)
        torch.testing.assert_close(tokens[:count], encoder.tokens(row, hide=own[None, :count])[0])
    encoder.train()(ragged).sum().backward()
    gradients = [one.grad for one in encoder.parameters() if one is not encoder.hidden_token]
    assert all(one is not None and one.isfinite().all() for one in gradients)


@each_variant
def test_hidden_frames_cannot_be_seen(args: dict[str, Any]) -> None:
    encoder = make(**args)
    assert isinstance(encoder, TokenEncoder)
    assert isinstance(encoder, HidingEncoder)
    assert isinstance(encoder, PatchEncoder)
    x, hide = waves(), torch.zeros(3, 10, dtype=torch.bool)
    hide[:, 4:7] = True
    with pytest.raises(RuntimeError, match="learn_hidden"):
        encoder.tokens(x, hide=hide)
    before = encoder.state_dict().keys()
    encoder.learn_hidden()
    assert encoder.state_dict().keys() - before == {"hidden_token"}
    encoder.double()

    def changed(count: int) -> Tensor:
        """Return frames of which some have other content; what they are made of overlaps."""
        other = copy.deepcopy(encoder)
        other.convolutions.register_forward_hook(
            lambda _module, _inputs, out: torch.cat(
                [out[..., :4], -out[..., 4 : 4 + count], out[..., 4 + count :]], dim=2
            )
        )
        return other.tokens(x, hide=hide)

    torch.testing.assert_close(changed(3), encoder.tokens(x, hide=hide))
    assert not torch.allclose(changed(4), encoder.tokens(x, hide=hide))
    keep = torch.tensor([[0, 2, 9]] * 3)
    kept = encoder.tokens(x, keep)
    assert kept.shape == (3, 3, 16)
    louder = x.clone()
    louder[:, :, 16:32] *= 2  # in frames 3 to 7: a frame begins at 4 t and is 8 long
    if not encoder.convolutions.is_grouped:  # as that norm is over the whole row
        torch.testing.assert_close(kept, encoder.tokens(louder, keep))


def test_patches_are_the_values_of_each_frame() -> None:
    encoder, x = make(), waves(2, 43)
    assert torch.equal(encoder.patches(x), x[:, 0, :40].view(2, 10, 4))
    assert torch.equal(encoder.patches(x[:, :, :3]), F.pad(x[:, :, :3], (0, 1)))


def test_its_blocks_are_layers_by_name() -> None:
    encoder = make()
    reader = LayerReader(encoder)
    assert list(reader.modules) == ["blocks.0", "blocks.1"]
    torch.testing.assert_close(reader.frames(waves()), encoder.layers(waves())[1].float())


def test_settings_are_refused_in_one_line() -> None:
    wrong = [{"kernels": [3]}, {"strides": [5, 2]}, {"dim": 18}, {"groups": 3}, {"channls": 3}]
    for args in wrong:
        with pytest.raises(ConfigError, match=r"encoder\.args") as refusal:
            make(**args)
        assert "\n" not in str(refusal.value)
