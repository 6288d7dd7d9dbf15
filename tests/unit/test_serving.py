from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim, export

from manta.batch import ViewNeeds
from manta.encoders import EncoderConfig, build
from manta.errors import RunError
from manta.modalities.image.decode import decode
from manta.modalities.image.preprocess import ImagePreprocess
from manta.modalities.image.views import ImageViews, ImageViewsConfig
from manta.serving import ExportedEncoder, load_exported, rebuild, save_encoder
from manta.spec import Spec

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def exported(config: EncoderConfig, size: int = 32) -> ExportedEncoder:
    torch.manual_seed(0)
    encoder = build(config, Spec.image(size))
    for module in encoder.modules():  # statistics that a fresh encoder does not have
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return ExportedEncoder(encoder, ImagePreprocess(size, MEAN, STD))


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    x = images(2, 16, 16, 3)
    expected = (
        x.double().permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(-1, 1, 1)
    ) / torch.tensor(STD).view(-1, 1, 1)
    torch.testing.assert_close(
        ImagePreprocess(16, MEAN, STD)(x), expected.float(), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(48, 64), (64, 40), (24, 24), (120, 50)])
@pytest.mark.parametrize(("size", "decoded"), [(16, 24), (24, 24), (32, 24)])
def test_it_is_what_decoding_and_evaluation_do(
    shape: tuple[int, int], size: int, decoded: int
) -> None:
    x = images(1, *shape, 3)
    encoded = io.BytesIO()
    Image.fromarray(x[0].numpy()).save(encoded, "PNG")
    square = torch.tensor(decode(encoded.getvalue(), decoded)).permute(2, 0, 1)[None]
    expected = ImageViews(ImageViewsConfig(mean=MEAN, std=STD), ViewNeeds(), image_size=size).plain(
        {"image": square}
    )
    actual = ImagePreprocess(size, MEAN, STD, resize=decoded)(x)
    difference = (actual - expected).abs() * torch.tensor(STD).view(-1, 1, 1) * 255
    assert (
        difference[..., 3:-3, 3:-3].max() <= 2.01
    )  # of 255, on noise; Pillow rounds between its two passes
    if shape == (decoded, decoded):
        assert difference.max() <= 1e-3


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_one_graph_serves_every_size_and_batch(name: str) -> None:
    module = exported(
        EncoderConfig(name=name, stem="small", args={"depth": 2} if "vit" in name else {})
    )
    dynamic = {0: Dim.AUTO, 1: Dim.AUTO, 2: Dim.AUTO}
    with torch.no_grad():
        graph = export(module, (images(2, 20, 24, 3),), dynamic_shapes=[dynamic]).module()
        for shape in [
            (1, 32, 32, 3),
            (5, 20, 24, 3),
            (2, 24, 20, 3),
            (3, 100, 37, 3),
            (1, 37, 100, 3),
            (2, 2, 9, 3),
        ]:
            x = images(*shape)
            torch.testing.assert_close(graph(x), module(x), atol=1e-5, rtol=1e-5)
            assert module(x).shape == (shape[0], module.embed_dim)


CONFIGS = {
    "resnet": (EncoderConfig(name="resnet10t"), True),
    "resnet, small stem": (EncoderConfig(name="resnet10t", stem="small"), False),
    "vit, small patches": (
        EncoderConfig(name="vit_tiny_patch16_224", stem="small", args={"depth": 2}),
        True,
    ),
    "vit, arguments": (
        EncoderConfig(
            name="vit_tiny_patch16_224",
            args={"depth": 1, "class_token": False, "global_pool": "avg"},
        ),
        True,
    ),
    "convnext": (EncoderConfig(name="convnext_atto"), True),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_saved_folder_gives_the_encoder_back(case: str, tmp_path: Path) -> None:
    config, by_timm = CONFIGS[case]
    module = exported(config)
    module.encoder.to(memory_format=torch.channels_last)
    saved = save_encoder(module, tmp_path / "encoder", config=config)
    assert saved.timm == by_timm
    x = images(3, 40, 32, 3)
    with torch.no_grad():
        expected = module(x)
        torch.testing.assert_close(load_exported(saved.folder)(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            rebuild(saved.folder).embed(module.preprocess(x)), expected, atol=1e-5, rtol=1e-5
        )
        if by_timm:
            model = timm.create_model(f"local-dir:{saved.folder}", pretrained=True).eval()
            torch.testing.assert_close(model(module.preprocess(x)), expected, atol=1e-5, rtol=1e-5)
            assert model.pretrained_cfg["mean"] == list(MEAN)
            assert model.pretrained_cfg["interpolation"] == "bicubic"
            assert model.pretrained_cfg["crop_pct"] == 1.0


def test_timm_cannot_load_what_it_would_build_differently(tmp_path: Path) -> None:
    # A deep stem keeps its weights' shapes with stride 1: timm would load them without a word into
    # another network.
    save_encoder(
        exported(EncoderConfig(name="resnet10t")), tmp_path, config=EncoderConfig(name="resnet10t")
    )
    small = EncoderConfig(name="resnet10t", stem="small")
    save_encoder(exported(small), tmp_path, config=small)
    with pytest.raises(FileNotFoundError):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_saving_verifies_what_it_wrote(tmp_path: Path) -> None:
    wrong = EncoderConfig(name="resnet10t")
    with pytest.raises(RunError, match="does not give back the encoder"):
        save_encoder(
            exported(EncoderConfig(name="resnet10t", stem="small")), tmp_path, config=wrong
        )


def test_saving_leaves_the_generator_and_the_mode_alone(tmp_path: Path) -> None:
    config = EncoderConfig(name="resnet10t", stem="small")
    module = exported(config)
    module.encoder.train()
    state = torch.random.get_rng_state()
    save_encoder(module, tmp_path, config=config)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.encoder.training
    assert all(m.training for m in module.encoder.modules())


@pytest.mark.parametrize("damage", ["empty", "no weights", "another shape", "not json"])
def test_a_folder_that_does_not_fit_is_one_line(damage: str, tmp_path: Path) -> None:
    config = EncoderConfig(name="resnet10t", stem="small")
    if damage != "empty":
        save_encoder(exported(config), tmp_path, config=config)
    description = tmp_path / "manta.json"
    if damage == "no weights":
        (tmp_path / "model.safetensors").unlink()
    elif damage == "another shape":
        found = json.loads(description.read_text())
        found["encoder"]["name"] = "resnet18"
        description.write_text(json.dumps(found))
    elif damage == "not json":
        description.write_text("{")
    with pytest.raises(RunError) as caught:
        rebuild(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
