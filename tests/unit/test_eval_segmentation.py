"""Segmentation from one prompting patch, on drawn shapes whose masks are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from access_kit import Pixels, access_of, small_encoder
from manta.encoders import Encoder
from manta.errors import ConfigError, DataError
from manta.evaluators import EncoderAccess, build
from manta.evaluators.segmentation import BINS, SegmentationConfig, overlaps, similarities

SIDE = 32
KINDS: tuple[Literal["resnet", "vit"], ...] = ("resnet", "vit")
EVERYTHING = torch.ones(SIDE, SIDE, dtype=torch.bool)


class Colours(Encoder):
    """Patches of 4 x 4 pixels are their mean colour, as seen from grey."""

    embed_dim = dense_dim = 3

    def feature_map(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4)

    def embed(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean((2, 3))


class Alike(Colours):
    """Every patch is the same."""

    def feature_map(self, x: Tensor) -> Tensor:
        return torch.ones_like(super().feature_map(x))


def access(encoder: Encoder) -> EncoderAccess:
    made, _ = access_of(encoder, bank=4, queries=4)
    if isinstance(encoder, Colours):
        return EncoderAccess(
            encoder, lambda data: data["image"].float() / 255 - 0.5, SIDE, made.device, made.rows
        )
    return made


def draw(
    folder: Path, scenes: int = 6, *, size: tuple[int, int] = (SIDE, SIDE)
) -> SegmentationConfig:
    """A red and a green rectangle on blue, at places that fit the grid of patches; numbers 3 and
    7."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(scenes):
        image, mask = Image.new("RGB", size, (0, 0, 255)), Image.new("L", size, 0)
        x, y = (size[0] - size[1]) // 2 + 16, 4 * (number % 3)
        for canvas, colours in ((image, [(255, 0, 0), (0, 255, 0)]), (mask, [3, 7])):
            pen = ImageDraw.Draw(canvas)
            pen.rectangle((x, y, x + 11, y + 15), fill=colours[0])  # type: ignore[arg-type]
            pen.rectangle((x - 12, y + 4, x - 5, y + 11), fill=colours[1])  # type: ignore[arg-type]
        image.save(folder / "images" / f"{number}.jpg", quality=100, subsampling=0)
        mask.save(folder / "masks" / f"{number}.png")
    return SegmentationConfig(images=str(folder / "images"), masks=str(folder / "masks"))


def test_objects_of_one_colour_are_found(tmp_path: Path) -> None:
    found = build(draw(tmp_path)).mean_scores(None, access(Colours()))
    # Only the borders are lost, where patches are seen through bilinear interpolation.
    assert found["segmentation_iou"] > 0.85
    assert found["segmentation_overlap"] == pytest.approx(0, abs=1e-6)
    assert found["segmentation_intra"] == pytest.approx(1, abs=0.01)
    # Pure colours from grey: (1, -1, -1) / 2 and (-1, -1, 1) / 2 have the cosine -1/3.
    assert found["segmentation_inter"] == pytest.approx(-1 / 3, abs=0.02)


def test_an_encoder_that_tells_nothing_apart_takes_all_for_the_object(tmp_path: Path) -> None:
    found = build(draw(tmp_path)).mean_scores(None, access(Alike()))
    assert found["segmentation_iou"] == pytest.approx((12 * 16 + 8 * 8) / 2 / SIDE**2)
    assert found["segmentation_overlap"] == pytest.approx(1)
    assert found["segmentation_intra"] == pytest.approx(1)
    assert found["segmentation_inter"] == pytest.approx(1)


def test_intersection_over_union_pixel_by_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = nn.functional.normalize(
        torch.randn(5, SIDE, SIDE, generator=generator), dim=0
    )  # a patch is a pixel
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[4:15, 6:17] = True
    known = torch.rand(SIDE, SIDE, generator=generator) > 0.2
    known |= mask
    thresholds = torch.tensor([-0.5, 0.0, 0.4, 0.9])
    found = overlaps(patches, mask, known, thresholds)
    prompt = patches[:, 9, 11]  # the middle
    for place, threshold in enumerate(thresholds.tolist()):
        both = either = 0
        for row in range(SIDE):
            for column in range(SIDE):
                if not known[row, column]:
                    continue
                taken = float(prompt @ patches[:, row, column]) > threshold
                both += taken and bool(mask[row, column])
                either += taken or bool(mask[row, column])
        assert found[place].item() == pytest.approx(both / either, abs=1e-6)


def test_the_prompt_lies_deep_inside_also_of_a_ring_and_at_the_border() -> None:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distance = torch.hypot(y - 15.5, x - 15.5)
    ring = (distance < 14) & (distance > 8)
    corner = (y < 12) & (x < 12)
    for mask in (ring, corner):
        # Patches are alike exactly where the object is, so the prompt finds all of it wherever
        # inside it lies.
        patches = torch.stack([mask.float(), (~mask).float()])
        assert overlaps(patches, mask, EVERYTHING, torch.tensor([0.5])).item() == 1
    # Of an object that the border cuts off, the point is not at the border: there everything else
    # is alike.
    patches = torch.stack([corner.float(), (~corner).float()])
    patches[:, 0, :], patches[:, :, 0] = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    assert overlaps(patches, corner, EVERYTHING, torch.tensor([0.5])).item() == pytest.approx(
        11 * 11 / 144
    )


def test_similarities_by_pairs() -> None:
    generator = torch.Generator().manual_seed(1)
    patches = nn.functional.normalize(torch.randn(4, 8, 8, generator=generator), dim=0)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[:12, :9] = True  # 3 x 2 whole patches; a quarter of the third column is too little
    known = EVERYTHING.clone()
    known[:, 28:] = False
    (found,) = similarities(patches, mask, known)
    inside = [(row, column) for row in range(3) for column in range(2)]
    outside = [
        (row, column) for row in range(8) for column in range(7) if (row, column) not in inside
    ]
    intra = [
        float(patches[:, a, b] @ patches[:, c, d])
        for place, (a, b) in enumerate(inside)
        for (c, d) in inside[:place]
    ]
    inter = [float(patches[:, a, b] @ patches[:, c, d]) for a, b in inside for c, d in outside]
    assert found.intra == pytest.approx(np.mean(intra), abs=1e-6)
    assert found.inter == pytest.approx(np.mean(inter), abs=1e-6)
    for histogram, values in zip(found.histograms, (intra, inter), strict=True):
        expected, _ = np.histogram(values, BINS, (-1, 1))
        assert np.abs(histogram.numpy() - expected / len(values)).sum() < 0.02
        assert histogram.sum().item() == pytest.approx(1)
    assert similarities(patches, EVERYTHING, EVERYTHING) == []


class Graded(Colours):
    """The cosine with red falls with the green that a patch has, so that the best threshold can be
    read off."""

    def feature_map(self, x: Tensor) -> Tensor:
        green = nn.functional.avg_pool2d(x[:, 1:2] + 0.5, 4)
        return torch.cat([green.mul(math.pi / 2).cos(), green.mul(math.pi / 2).sin()], dim=1)


def test_the_threshold_is_chosen_on_other_images_than_it_is_scored_on(tmp_path: Path) -> None:
    # The object is black. In even images what surrounds it has a cosine of 0.5 with it, in odd ones
    # of 0.8: the images that choose are content with 0.55 or more, and the first such threshold
    # takes all of the odd images.
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for number in range(4):
        green = math.acos(0.8 if number % 2 else 0.5) / (math.pi / 2)
        pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        pixels[..., 1] = round(255 * green)
        pixels[8:24, 8:24] = 0
        Image.fromarray(pixels).save(images / f"{number}.png")
        Image.fromarray((pixels[..., 1] == 0).astype(np.uint8)).save(masks / f"{number}.png")
    config = SegmentationConfig(images=str(images), masks=str(masks), thresholds=(0.3, 0.6, 0.9))
    found = build(config).mean_scores(None, access(Graded()))
    assert found["segmentation_threshold"] == 0.6
    assert found["segmentation_iou"] == pytest.approx(0.25)
    swapped = config.model_copy(update={"thresholds": (0.9,)})
    assert build(swapped).mean_scores(None, access(Graded()))["segmentation_iou"] > 0.6


def test_oblong_images_are_cut_to_their_middle_square(tmp_path: Path) -> None:
    square = build(draw(tmp_path / "square")).mean_scores(None, access(Colours()))
    oblong = build(draw(tmp_path / "oblong", size=(60, SIDE))).mean_scores(None, access(Colours()))
    assert oblong["segmentation_iou"] == pytest.approx(square["segmentation_iou"], abs=0.01)


def test_unknown_pixels_and_small_objects_do_not_count(tmp_path: Path) -> None:
    config = draw(tmp_path)
    plain = build(config).mean_scores(None, access(Colours()))
    for path in Path(config.masks).iterdir():
        mask = np.array(Image.open(path))
        mask[mask == 7] = 255
        mask[31, 0] = 9  # one pixel
        Image.fromarray(mask).save(path)
    found = build(config).mean_scores(None, access(Colours()))
    assert found["segmentation_inter"] == pytest.approx(-1 / 3, abs=0.02)
    assert found["segmentation_iou"] > plain["segmentation_iou"] - 0.02
    alike = build(config).mean_scores(None, access(Alike()))
    assert alike["segmentation_iou"] == pytest.approx(12 * 16 / (SIDE**2 - 64))


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_and_convolutional_networks(
    kind: Literal["resnet", "vit"], tmp_path: Path
) -> None:
    found = build(draw(tmp_path)).mean_scores(None, access(small_encoder(kind)))
    assert 0 < found["segmentation_iou"] <= 1
    if kind == "vit":  # a grid of 4 x 4; that of test_resnet is too coarse for pairs of patches
        assert found["segmentation_intra"] > found["segmentation_inter"]
        assert 0 <= found["segmentation_overlap"] <= 1


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    config = draw(tmp_path / "one", scenes=1)
    with pytest.raises(DataError, match="too few objects"):
        build(config).mean_scores(None, access(Colours()))
    with pytest.raises(ConfigError, match="needs an encoder with a feature map"):
        build(config).mean_scores(None, access(Pixels()))
    with pytest.raises(DataError, match="there is no folder"):
        build(config.model_copy(update={"masks": str(tmp_path / "none")})).mean_scores(
            None, access(Colours())
        )
    config = draw(tmp_path / "two")
    Image.new("RGB", (SIDE, SIDE)).save(Path(config.masks) / "2.png")
    with pytest.raises(DataError, match=r"2\.png must have one channel"):
        build(config).mean_scores(None, access(Colours()))
    (Path(config.masks) / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read"):
        build(config).mean_scores(None, access(Colours()))
    (Path(config.images) / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"no image of the mask 2\.png"):
        build(config).mean_scores(None, access(Colours()))
