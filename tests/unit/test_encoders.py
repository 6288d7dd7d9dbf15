"""timm models behind the three protocols, one of each family."""

import pytest
import torch

from manta.encoders import DenseEncoder, Encoder, EncoderConfig, TokenEncoder, build
from manta.errors import ConfigError
from manta.spec import Spec

TINY_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
FAMILIES = [
    ("resnet10t", "default", 32, {}),
    ("resnet10t", "small", 32, {}),
    ("resnet18", "small", 32, {}),
    ("convnext_atto", "default", 64, {}),
    ("mobilenetv3_small_050", "default", 64, {}),
    ("efficientnet_b0", "default", 64, {}),
    ("vit_tiny_patch16_224", "small", 32, TINY_VIT),
    ("vit_tiny_patch16_224", "default", 64, TINY_VIT),
    (
        "swin_tiny_patch4_window7_224",
        "default",
        64,
        {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)},
    ),
]


@pytest.mark.parametrize(("name", "stem", "size", "args"), FAMILIES)
def test_an_encoder_pools_and_maps(name, stem, size, args):
    encoder = build(EncoderConfig(name=name, stem=stem, args=args), Spec.image(size)).eval()
    x = torch.randn(2, 3, size, size)
    pooled = encoder(x)
    assert isinstance(encoder, Encoder)
    assert pooled.shape == (2, encoder.embed_dim)
    assert isinstance(encoder, DenseEncoder)
    dense = encoder.feature_map(x)
    assert dense.shape[:2] == (2, encoder.dense_dim)
    assert dense.ndim == 4


def test_the_small_stem_keeps_resolution():
    plain = build(EncoderConfig(name="resnet18"), Spec.image(32))
    small = build(EncoderConfig(name="resnet18", stem="small"), Spec.image(32))
    x = torch.randn(2, 3, 32, 32)
    assert plain.eval().feature_map(x).shape[-1] == 1
    assert small.eval().feature_map(x).shape[-1] == 4
    patches = build(
        EncoderConfig(name="vit_tiny_patch16_224", stem="small", args=TINY_VIT), Spec.image(32)
    )
    assert patches.grid == (8, 8)


def test_tokens_of_kept_patches_do_not_see_hidden_ones():
    torch.manual_seed(0)
    encoder = build(
        EncoderConfig(name="vit_tiny_patch16_224", stem="small", args=TINY_VIT), Spec.image(32)
    ).eval()
    assert isinstance(encoder, TokenEncoder)
    x = torch.randn(2, 3, 32, 32)
    keep = torch.tensor([[0, 1, 5], [9, 3, 63]])
    tokens = encoder.tokens(x, keep)
    assert tokens.shape == (2, encoder.prefix_tokens + 3, encoder.embed_dim)
    other = x.clone()
    other[:, :, -4:, :16] += 1.0  # patches 56 to 59, hidden in both
    torch.testing.assert_close(encoder.tokens(other, keep), tokens)
    everything = torch.arange(64).expand(2, -1)
    torch.testing.assert_close(encoder.tokens(x, everything), encoder.tokens(x))


def test_full_tokens_are_the_models_own():
    encoder = build(
        EncoderConfig(name="vit_tiny_patch16_224", args=TINY_VIT), Spec.image(32)
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder.tokens(x), encoder.model.forward_features(x))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (EncoderConfig(name="resnet_18"), "did you mean"),
        (EncoderConfig(name="resnet18", args={"colour": 3}), "cannot build 'resnet18'"),
        *(
            (
                EncoderConfig(name="resnet18", args={argument: given}),
                f"args.{argument} names files .*; leave it out, and set encoder.pretrained=true",
            )
            for argument, given in (
                ("checkpoint_path", "weights.pth"),
                ("pretrained_cfg", {"file": "weights.pth"}),
                ("pretrained_cfg_overlay", {"file": "weights.pth"}),
                ("cache_dir", "."),
            )
        ),
    ],
)
def test_a_wrong_encoder_is_one_line(config, words):
    with pytest.raises(ConfigError, match=words):
        build(config, Spec.image(32))
