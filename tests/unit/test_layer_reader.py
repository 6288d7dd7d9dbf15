"""One reader of layers: `manta embed --layer` and the `layers` evaluator give the same features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from access_kit import access_of, small_encoder
from conformance.objective_kit import VIT, pictures
from manta.encoders import Encoder, EncoderConfig, build
from manta.encoders.layers import LayerReader, find_layer, pooled, stages
from manta.errors import ConfigError
from manta.evaluators.layers import _read
from manta.modalities.image import ImageDecoder
from manta.modalities.image.preprocess import ImagePreprocess
from manta.serving import ExportedEncoder, save_encoder
from manta.serving.embedder import load_features
from manta.spec import Spec

SWIN = {
    "img_size": 32,
    "embed_dim": 16,
    "depths": (1, 1),
    "num_heads": (1, 2),
    "window_size": 4,
    "patch_size": 2,
}
ENCODERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "resnet": ("test_resnet", {}, "layer2"),
    "vit": ("vit_tiny_patch16_224", VIT, "blocks.0"),
    "swin": ("swin_tiny_patch4_window7_224", SWIN, "layers.0.blocks.0"),
}


@pytest.fixture(params=ENCODERS)
def case(request: pytest.FixtureRequest) -> tuple[EncoderConfig, Encoder, str]:
    """An encoder of 32 px with its config, and the name of a layer."""
    name, args, layer = ENCODERS[request.param]
    config = EncoderConfig(name=name, args=args)
    torch.manual_seed(0)
    return config, build(config, Spec.image(32)).eval(), layer


def by_hook(encoder: Encoder, layer: str, images: Tensor) -> Tensor:
    """The layer's output as a hook of our own sees it, positions in the middle: `[N, T, D]`."""
    seen: list[Tensor] = []
    handle = find_layer(encoder, layer).register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        encoder.embed(images)
    handle.remove()
    (output,) = seen
    if layer.startswith("layer2"):  # the ResNet's [N, D, h, w]
        return output.flatten(2).mT
    return output.flatten(1, -2)


def test_embedding_and_evaluator_read_the_same(
    case: tuple[EncoderConfig, Encoder, str], tmp_path: Any
) -> None:
    config, encoder, layer = case
    exported = ExportedEncoder(encoder, ImagePreprocess(32, (0.3,) * 3, (0.4,) * 3))
    folder = save_encoder(exported, tmp_path, config=config).folder
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    module, decoder = load_features(files, layer)
    assert decoder == ImageDecoder(32)
    data = {"image": pictures()[:20]}
    with torch.inference_mode():
        embedded = module(data)
    access, _ = access_of(encoder, bank=20, queries=5)
    evaluated, _ = _read(access, LayerReader(encoder, [layer]), "bank", 20)
    torch.testing.assert_close(embedded, evaluated[layer], rtol=1e-4, atol=1e-5)
    expected = by_hook(encoder, layer, access.prepared(data)).mean(1)
    torch.testing.assert_close(evaluated[layer], expected, rtol=1e-4, atol=1e-5)
    assert module.width == expected.shape[1]


def test_stages_are_read_as_if_they_were_named(case: tuple[EncoderConfig, Encoder, str]) -> None:
    _, encoder, _ = case
    images = torch.randn(2, 3, 32, 32)
    listed = LayerReader(encoder)(images)
    assert list(listed) == stages(encoder)
    torch.testing.assert_close(LayerReader(encoder, list(listed))(images), listed)


def test_channels_stand_where_the_sides_differ() -> None:
    first, last = torch.randn(2, 5, 3, 3), torch.randn(2, 3, 3, 5)
    torch.testing.assert_close(pooled(first), first.flatten(2).mean(2))
    torch.testing.assert_close(pooled(last), last.flatten(1, 2).mean(1))
    cube = torch.randn(2, 3, 3, 3)
    torch.testing.assert_close(pooled(cube), cube.flatten(2).mean(2))
    torch.testing.assert_close(pooled(cube, channels_last=True), cube.flatten(1, 2).mean(1))
    assert pooled(torch.randn(2, 7, 4)).shape == (2, 4)
    assert pooled(torch.randn(2, 4)).shape == (2, 4)


def test_a_layer_beside_the_embedding_is_refused_before_any_row(tmp_path: Any) -> None:
    config = EncoderConfig(name="conv_autoencoder")
    exported = ExportedEncoder(
        build(config, Spec.image(32)), ImagePreprocess(32, (0.5,) * 3, (0.25,) * 3)
    )
    folder = save_encoder(exported, tmp_path, config=config).folder
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigError, match="layer 'decoder' takes no part"):
        load_features(files, "decoder")
    with pytest.raises(ConfigError, match="no layer 'layer9'"):
        find_layer(small_encoder("resnet"), "layer9")


def test_frames_are_a_layers_positions_in_their_order(
    case: tuple[EncoderConfig, Encoder, str],
) -> None:
    _, encoder, layer = case
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    frames = LayerReader(encoder, [layer]).frames(images)
    expected = by_hook(encoder, layer, images)
    before = 1 if layer.startswith("blocks") else 0  # the class token of a ViT
    assert torch.equal(frames, expected[:, before:])
