"""Encoders of sequences: padding changes nothing, methods train on them, tokens, settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from manta import encoders
from manta.encoders import DenseEncoder, Encoder, EncoderConfig, HidingEncoder, TokenEncoder
from manta.encoders.fitting import check_fits
from manta.encoders.patchtst import PatchTST
from manta.errors import ConfigError
from manta.ragged import Ragged
from manta.spec import Spec

NAMES = ["resnet1d", "tcn", "patchtst", "wave"]
SMALL: dict[str, dict[str, Any]] = {
    "resnet1d": {"widths": [8, 12, 12]},
    "tcn": {"hidden": 8, "depth": 4, "output": 12},
    "patchtst": {"dim": 16, "depth": 2, "heads": 2, "patch": 4},
    "wave": {
        "channels": 8,
        "kernels": (4, 3),
        "strides": (2, 2),
        "positions": 5,
        "groups": 4,
        "dim": 16,
        "depth": 2,
        "heads": 2,
    },
}
LENGTHS = torch.tensor([30, 1, 17, 8, 4])
CHANNELS = 3


def make(name: str, length: int | None = None, **args: Any) -> Encoder:
    torch.manual_seed(0)
    config = EncoderConfig(name=name, args=SMALL[name] | args)
    encoder = encoders.build(config, Spec("sequence", CHANNELS, (length,)))
    for module in encoder.modules():  # statistics of its own in every BatchNorm
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return encoder


def rows() -> Ragged:
    generator = torch.Generator().manual_seed(0)
    return Ragged(torch.randn(int(LENGTHS.sum()), CHANNELS, generator=generator), LENGTHS)


def alone(ragged: Ragged) -> list[Tensor]:
    """Return each row as a dense batch of one."""
    return [row.T[None] for row in torch.split(ragged.values, ragged.lengths.tolist())]


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_change_a_rows_features(name: str) -> None:
    encoder = make(name).eval()
    together = encoder(rows())
    assert together.shape == (len(LENGTHS), encoder.embed_dim)
    apart = torch.cat([encoder(row) for row in alone(rows())])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    permuted = encoder(rows().rows(torch.tensor([1, 3])))
    torch.testing.assert_close(permuted, together[[1, 3]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_reach_gradients_and_statistics(name: str) -> None:
    """Rows of one length that are padded to a longer one train as they do dense."""
    generator = torch.Generator().manual_seed(3)
    dense = torch.randn(6, CHANNELS, 20, generator=generator)
    values = dense.transpose(1, 2).reshape(-1, CHANNELS)
    longer = Ragged(torch.cat([values, values[:7]]), torch.tensor([20] * 6 + [7]))
    encoder = make(name, dropout=0.0) if name != "resnet1d" else make(name)
    encoder.train()
    if name == "resnet1d":  # BatchNorm over rows: the same values without a longer row
        ragged = Ragged(values, torch.tensor([20] * 6))
        torch.testing.assert_close(encoder(ragged), encoder(dense), rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(encoder(longer)[:6], encoder(dense), rtol=1e-4, atol=1e-5)
    encoder.zero_grad()
    encoder(rows()).square().sum().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_batchnorm_counts_values_and_no_padding() -> None:
    encoder = make("resnet1d").train()
    norm = next(module for module in encoder.modules() if isinstance(module, nn.BatchNorm1d))
    norm.momentum = 1.0
    first = next(module for module in encoder.modules() if isinstance(module, nn.Conv1d))
    encoder(rows())
    outputs = torch.cat([first(nn.functional.pad(row, (3, 4)))[0] for row in alone(rows())], dim=1)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, outputs.mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [None, 1, 24, 37])
def test_they_fit_series_of_any_length(name: str, length: int | None) -> None:
    config, spec = EncoderConfig(name=name), Spec("sequence", CHANNELS, (length,))
    encoder = encoders.build(config, spec)
    others = [] if length is None or length < 2 else [Spec("sequence", CHANNELS, (length // 2,))]
    check_fits(encoder, config, spec, others=others)


def test_sizes_are_those_of_the_papers() -> None:
    spec = Spec("sequence", 1, (None,))
    dims = [encoders.build(EncoderConfig(name=name), spec).embed_dim for name in NAMES]
    assert dims == [128, 320, 128, 128]
    tcn = encoders.build(EncoderConfig(name="tcn"), spec)
    # TS2Vec's for one channel: counted from its code, ten blocks of 64 and one of 320.
    each = 2 * (64 * 64 * 3 + 64)
    last = (64 * 320 * 3 + 320) + (320 * 320 * 3 + 320) + (64 * 320 + 320)
    assert sum(p.numel() for p in tcn.parameters()) == (64 + 64) + 10 * each + last


@pytest.mark.parametrize("name", ["resnet1d", "tcn"])
def test_maps_have_the_length_of_the_series(name: str) -> None:
    encoder = make(name).eval()
    assert isinstance(encoder, DenseEncoder)
    assert encoder.feature_map(alone(rows())[0]).shape == (1, encoder.dense_dim, 30)
    ragged = encoder.feature_map(rows())
    assert ragged.shape == (len(LENGTHS), encoder.dense_dim, 30)
    assert not ragged[1, :, 1:].any()


def test_tokens_follow_the_protocol() -> None:
    encoder = make("patchtst", 24).eval()
    assert isinstance(encoder, TokenEncoder)
    assert isinstance(encoder, PatchTST)
    assert (encoder.patch_size, encoder.grid, encoder.prefix_tokens) == ((4,), (6,), 0)
    x = torch.randn(3, CHANNELS, 24, generator=torch.Generator().manual_seed(0))
    patches = encoder.patches(x)
    assert torch.equal(patches, torch.nn.functional.unfold(x[:, :, None], (1, 4), stride=4).mT)
    every = encoder.tokens(x)
    torch.testing.assert_close(encoder.pool(every), encoder(x))
    keep = torch.tensor([[0, 5]] * 3)
    changed = x.clone()
    changed[:, :, 4:20] = 9  # hidden from what is kept
    torch.testing.assert_close(encoder.tokens(x, keep), encoder.tokens(changed, keep))
    assert len(encoder.layers(x)) == 2


def test_hidden_tokens_are_a_learnt_vector() -> None:
    encoder = make("patchtst", 24).eval()
    assert isinstance(encoder, PatchTST)
    x = torch.randn(3, CHANNELS, 24, generator=torch.Generator().manual_seed(0))
    hide = torch.zeros(3, 6, dtype=torch.bool)
    hide[:, 2] = True
    with pytest.raises(RuntimeError, match="learn_hidden"):
        encoder.tokens(x, hide=hide)
    encoder.learn_hidden()
    changed = x.clone()
    changed[:, :, 8:12] = 9
    torch.testing.assert_close(encoder.tokens(x, hide=hide), encoder.tokens(changed, hide=hide))
    assert torch.equal(encoder.token_lengths(rows()), torch.tensor([8, 1, 5, 2, 1]))


def test_partial_patches_are_tokens_too() -> None:
    encoder = make("patchtst", 26).eval()
    assert isinstance(encoder, PatchTST)
    assert encoder.grid == (7,)
    x = torch.randn(2, CHANNELS, 26, generator=torch.Generator().manual_seed(0))
    assert encoder.patches(x).shape == (2, 7, 4 * CHANNELS)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_exported_for_any_batch_and_length(name: str) -> None:
    encoder = make(name).eval()
    sizes = {0: torch.export.Dim("n", min=1), 2: torch.export.Dim.AUTO}
    example = torch.randn(2, CHANNELS, 24, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(encoder, (example,), dynamic_shapes={"x": sizes}, strict=False)
    torch.testing.assert_close(program.module()(example), encoder(example))


def test_settings_are_refused_in_one_line() -> None:
    spec = Spec("sequence", 1, (None,))
    wrong = [
        ("tcn", {"depht": 3}),
        ("patchtst", {"dim": 10, "heads": 4}),
        ("resnet1d", {"widths": []}),
    ]
    for name, args in wrong:
        with pytest.raises(ConfigError, match=r"encoder\.args"):
            encoders.build(EncoderConfig(name=name, args=args), spec)
    with pytest.raises(ConfigError, match="takes sequences"):
        encoders.build(EncoderConfig(name="tcn"), Spec.image(32))
    with pytest.raises(ConfigError, match="no weights of tcn"):
        encoders.build(EncoderConfig(name="tcn", pretrained=True), spec)


@pytest.mark.parametrize("name", ["patchtst", "wave"])
def test_a_mask_of_a_larger_batch_goes_on_where_all_rows_have_ended(name: str) -> None:
    encoder = make(name).eval()
    assert isinstance(encoder, HidingEncoder)
    encoder.learn_hidden()
    tokens = encoder.tokens(rows()).shape[1]
    hide = torch.arange(tokens).remainder(3).eq(0).repeat(len(LENGTHS), 1)
    wider = torch.nn.functional.pad(hide, (0, 4), value=True)
    torch.testing.assert_close(
        encoder.tokens(rows(), hide=wider), encoder.tokens(rows(), hide=hide)
    )
