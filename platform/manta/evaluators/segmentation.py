"""Zero-shot segmentation of objects by the similarity of patches to one prompting patch.

Wu et al. 2023, "Masked Momentum Contrastive Learning for Zero-shot Semantic Understanding" (MMC).
Certain are its two tests: the cosines of one prompting patch with all patches, thresholded; and how
far the similarities of patches within an object overlap with those to patches outside of it.

It needs masks, which a pretraining source does not have: a folder of PNGs beside a folder of
images, as PASCAL VOC's `SegmentationObject` and `JPEGImages` are. Ours: the prompt is the point
deepest inside of an object; the threshold is one for all objects, chosen on every other image and
scored on the rest; every object weighs the same; and any encoder with a feature map will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from manta.encoders import DenseEncoder
from manta.errors import ConfigError, DataError
from manta.evaluators._base import (
    EVALUATORS,
    EncoderAccess,
    EncoderEvaluator,
    EncoderEvaluatorConfig,
    Features,
    Scores,
)
from manta.evaluators._metrics import Metric

BACKGROUND, VOID = 0, 255
"""Values of a mask that are no object: background, and unknown, such as VOC's contours."""
BINS = 200
"""Bins of the similarities' histograms, between -1 and 1."""


class SegmentationConfig(EncoderEvaluatorConfig):
    """Settings of images and masks, and of what counts as an object."""

    name: Literal["segmentation"] = "segmentation"
    images: str = Field(description="folder of images")
    masks: str = Field(
        description="folder of PNGs of the same names: 0 background, 255 unknown, "
        "else objects' numbers"
    )
    rows: int = Field(500, ge=2, description="images, at most, in the order of the masks' names")
    least_area: float = Field(
        0.01, gt=0, lt=1, description="of the image, below which an object is passed over"
    )
    thresholds: tuple[float, ...] = Field(
        (*(round(0.05 * step, 2) for step in range(1, 20)), 0.98),
        min_length=1,
        description="cosines to choose from",
    )
    batch: int = Field(
        32, ge=1, description="images that go through the encoder at a time; bounds the memory"
    )


METRICS = {
    "segmentation_iou": Metric(
        "Intersection over union",
        "1 where the object is met exactly.",
        better="higher",
        kind="fraction",
    ),
    "segmentation_threshold": Metric(
        "Threshold of similarity", "Chosen on every other image.", kind="setting"
    ),
    "segmentation_intra": Metric("Likeness within objects", "Mean cosine of patches."),
    "segmentation_inter": Metric("Likeness to what is outside", "Mean cosine of patches."),
    "segmentation_overlap": Metric(
        "Overlap of the two", "0 where they are apart, 1 where they are one.", better="lower"
    ),
}


@EVALUATORS.register("segmentation")
class Segmentation(EncoderEvaluator[SegmentationConfig]):
    """Mean intersection over union of objects by similar patches: `segmentation_iou`.

    It is taken at `segmentation_threshold`. `segmentation_intra` and `segmentation_inter` are mean
    cosines within objects and to what is outside, and `segmentation_overlap` is how far those two's
    histograms overlap, 0 where they are apart and 1 where they are one.
    """

    Config = SegmentationConfig
    title = "Zero-shot segmentation"
    about = "Whether what is like the patch that is pointed at is the object."
    metrics = METRICS
    modalities = frozenset({"image"})

    @torch.no_grad()
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        config, encoder = self.config, access.encoder
        if not isinstance(encoder, DenseEncoder):
            raise ConfigError(
                "segmentation needs an encoder with a feature map; leave the evaluator out"
            )
        thresholds = torch.tensor(config.thresholds)
        chosen_on: list[Tensor] = []
        scored_on: list[Tensor] = []
        similar: list[_Similar] = []
        scenes = islice(_scenes(config, access.size), config.rows)
        number = 0
        while batch := list(islice(scenes, config.batch)):
            images = access.prepared_images(torch.stack([image for image, _ in batch]))
            maps = encoder.feature_map(images).float().cpu()
            for patches, (_, mask) in zip(F.normalize(maps, dim=1), batch, strict=True):
                # The threshold is chosen on even images and scored on odd ones.
                part = scored_on if number % 2 else chosen_on
                for label in _objects(mask, config.least_area):
                    part.append(overlaps(patches, mask == label, mask != VOID, thresholds))
                    similar += similarities(patches, mask == label, mask != VOID)
                number += 1
        if not chosen_on or not scored_on:
            raise DataError(
                f"{config.masks} holds too few objects; "
                "it takes two images with one, above least_area"
            )
        best = int(torch.stack(chosen_on).mean(0).argmax())
        numbers = {
            "segmentation_iou": float(torch.stack(scored_on).mean(0)[best]),
            "segmentation_threshold": config.thresholds[best],
        }
        if similar:
            intra, inter = (
                torch.stack(parts).mean(0)
                for parts in zip(*(s.histograms for s in similar), strict=True)
            )
            numbers |= {
                "segmentation_intra": sum(s.intra for s in similar) / len(similar),
                "segmentation_inter": sum(s.inter for s in similar) / len(similar),
                "segmentation_overlap": float(torch.minimum(intra, inter).sum()),
            }
        return numbers


class _Similar(NamedTuple):
    """Mean cosines within an object and to what is outside, and both histograms, of sum 1."""

    intra: float
    inter: float
    histograms: tuple[Tensor, Tensor]


def overlaps(patches: Tensor, mask: Tensor, known: Tensor, thresholds: Tensor) -> Tensor:
    """Return the intersection over union `[T]` of an object and what is like its prompt.

    Alike is what has a larger cosine than the threshold.

    Args:
        patches: `[D, h, w]`, normalised.
        mask: `[S, S]` bool, of the object.
        known: `[S, S]` bool; other pixels do not count.
    """
    # A frame keeps the deepest point of what is cut off by the border away from it.
    depth = distance_transform_edt(np.pad(mask.numpy(), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    height, width = patches.shape[1:]
    prompt = patches[:, int(row) * height // len(mask), int(column) * width // len(mask)]
    cosines = torch.einsum("d,dhw->hw", prompt, patches)
    fine = F.interpolate(cosines[None, None], mask.shape, mode="bilinear", align_corners=False)[
        0, 0
    ]
    taken = (fine > thresholds[:, None, None]) & known
    return (taken & mask).sum((1, 2)) / (taken | mask).sum((1, 2))


def similarities(patches: Tensor, mask: Tensor, known: Tensor) -> list[_Similar]:
    """Return cosines of pairs of patches within an object, and of its patches with others.

    Arguments are as in `overlaps`. A patch belongs where most of it is. Empty where an object has
    less than two patches, or all of them.
    """
    grid = (patches.shape[1], patches.shape[2])
    inside = (F.adaptive_avg_pool2d(mask[None].float(), grid) > 0.5).flatten()
    outside = (F.adaptive_avg_pool2d((known & ~mask)[None].float(), grid) > 0.5).flatten()
    if int(inside.sum()) < 2 or not bool(outside.any()):
        return []
    flat = patches.flatten(1)
    within = flat[:, inside].T @ flat[:, inside]
    intra = within[torch.ones_like(within, dtype=torch.bool).triu(1)]
    inter = (flat[:, inside].T @ flat[:, outside]).flatten()
    histograms = [
        torch.histc(cosines.clamp(-1, 1), BINS, -1, 1) / len(cosines) for cosines in (intra, inter)
    ]
    return [_Similar(float(intra.mean()), float(inter.mean()), (histograms[0], histograms[1]))]


def _objects(mask: Tensor, least_area: float) -> list[int]:
    labels, areas = torch.unique(mask, return_counts=True)
    large = labels[areas >= least_area * mask.numel()].tolist()
    return [label for label in large if label not in (BACKGROUND, VOID)]


def _scenes(config: SegmentationConfig, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield central squares: uint8 images `[3, size, size]` and int64 masks `[size, size]`.

    They come in the order of names.

    Raises:
        DataError: a folder, or the image of a mask, is not there or cannot be read.
    """
    images = {path.stem: path for path in _files(config.images)}
    for path in _files(config.masks):
        if path.suffix.lower() != ".png":
            continue
        if path.stem not in images:
            raise DataError(
                f"{config.images} has no image of the mask {path.name}; "
                "remove the mask, or add the image"
            )
        try:
            with _open(images[path.stem]) as image, _open(path) as mask:
                pixels = _square(image.convert("RGB"), size, Image.Resampling.BICUBIC)
                labels = _square(mask, size, Image.Resampling.NEAREST)
                same = image.size == mask.size
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} or its image cannot be read ({error}); remove both") from None
        if labels.ndim != 2 or not same:
            raise DataError(
                f"{path} must have one channel, and the size of its image; "
                "save the objects' numbers again"
            )
        yield torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(labels.astype(np.int64))


def _open(path: Path) -> Image.Image:
    # Never PostScript and the like, for which Pillow starts a program.
    return Image.open(path, formats=("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"))


def _files(folder: str) -> list[Path]:
    if not Path(folder).is_dir():
        raise DataError(
            f"there is no folder {folder}; set the segmentation evaluator's images and masks"
        )
    return sorted(path for path in Path(folder).iterdir() if path.is_file())


def _square(image: Image.Image, size: int, how: Image.Resampling) -> np.ndarray:
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return np.array(image.crop((left, top, left + side, top + side)).resize((size, size), how))
