"""The setting in which the conformance suite runs every objective, on scikit-learn's digits.

Each has small heads and a tiny encoder that it accepts. A method of sequences alone is given the
digits as such: their pixels one after the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch import Tensor

from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress
from manta.encoders import Encoder, EncoderConfig
from manta.errors import ConfigError
from manta.files import Place
from manta.materials import write_sequences
from manta.modalities.image.preprocess import ImagePreprocess
from manta.modalities.image.views import ImageViews, ImageViewsConfig
from manta.modalities.series.views import SeriesViews, SeriesViewsConfig
from manta.objectives import (
    OBJECTIVES,
    ClusterMaterial,
    HeadConfig,
    Material,
    ModelMaterial,
    Objective,
    ObjectiveConfig,
    UnitsMaterial,
)
from manta.serving import ExportedEncoder, save_encoder
from manta.spec import Spec

SIZE = 32
# Local views of 16 px would reach the last stage of test_resnet as one pixel, for which oneDNN's
# bf16 convolution of stride 2 leaves parts of its weight gradient unwritten (torch 2.15, AMX).
VIEWS = ImageViewsConfig(local_size=24)
TOTAL_STEPS = 40
NAMES = tuple(
    name
    for name in OBJECTIVES
    if name in os.environ.get("MANTA_CONFORMANCE", ",".join(OBJECTIVES)).split(",")
)
"""Every registered objective, or those that MANTA_CONFORMANCE names: for whoever writes one."""
VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8, "global_pool": "avg"}
ENCODERS = (  # in the order in which they are offered
    EncoderConfig(name="test_resnet"),
    # Wide enough that 60 steps show in neighbours.
    EncoderConfig(
        name="vit_tiny_patch16_224", args=VIT | {"embed_dim": 96, "depth": 3, "num_heads": 3}
    ),
)


def wave_of(kernels: list[int], strides: list[int]) -> EncoderConfig:
    """Return a small encoder of waves that drops nothing out."""
    small = {"channels": 16, "dim": 32, "depth": 2, "heads": 2, "positions": 5, "groups": 4}
    args = small | {"kernels": kernels, "strides": strides, "dropout": 0.0}
    return EncoderConfig(name="wave", args=args)


WAVE = wave_of([4, 2, 2], [2, 2, 2])
LENGTH, FRAME = 128, 8
"""Values of a digit as a sequence, and those of a frame, half a line of its pixels."""
OF_SEQUENCES = ("data2vec", "hubert")


def backbones(name: str) -> tuple[tuple[EncoderConfig, ...], Spec]:
    """Return the encoders that are offered to an objective, and what they are given."""
    if name in OF_SEQUENCES:
        return (WAVE,), Spec("sequence", 1, (LENGTH,))
    return ENCODERS, Spec.image(SIZE)


def config_of(name: str, **overrides: Any) -> ObjectiveConfig:
    """Return the objective's defaults with `overrides`, and heads of at most 64 units.

    A field without a default gets a name of a model or a column.
    """
    kind = OBJECTIVES[name].Config
    required = {field: "given" for field, info in kind.model_fields.items() if info.is_required()}
    config = kind.model_validate({"name": name, **required, **overrides})
    heads = {
        field: value
        for field, value in config
        if isinstance(value, HeadConfig) and field not in overrides
    }
    small = {"hidden": 64, "out": 32}
    return config.model_copy(
        update={field: head.model_copy(update=small) for field, head in heads.items()}
    )


@lru_cache(maxsize=8)
def material_path(material: Material) -> Path:
    """Return the path of a material for the digits, which is removed with the process.

    It is an untrained encoder, clusters of pixels, or the labels.
    """
    if isinstance(material, ModelMaterial):
        return saved(fresh(ENCODERS[0], 1))
    folder = _folder()
    if isinstance(material, UnitsMaterial):
        frames = sequences().view(len(pictures()), -1, FRAME).numpy()
        units = KMeans(material.clusters, n_init=1, random_state=0).fit_predict(
            frames.reshape(-1, FRAME)
        )
        lengths = np.full(len(frames), frames.shape[1])
        write_sequences(Place.of(folder / "units"), lengths, [units], np.uint8, step=FRAME)
        return folder / "units"
    if isinstance(material, ClusterMaterial):
        pixels = pictures()[:, 0, ::4, ::4].flatten(1).numpy()
        clusters = KMeans(material.clusters, n_init=1, random_state=material.seed).fit_predict(
            pixels
        )
        np.save(folder / "table.npy", clusters.astype(np.int32))
    else:
        np.save(folder / "table.npy", labels().numpy())
    return folder / "table.npy"


def saved(encoder: Encoder) -> Path:
    """Save an encoder, one of the first of `ENCODERS`, as a run does; return its folder.

    It is removed with the process.
    """
    exported = ExportedEncoder(
        encoder, ImagePreprocess(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return save_encoder(exported, _folder(), config=ENCODERS[0]).folder


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="manta-material-", dir=_scratch().name))


@lru_cache(maxsize=1)
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="manta-conformance-")


def objective_of(
    name: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    make: Callable[[Material], Path] = material_path,
    **overrides: Any,
) -> Objective[Any]:
    """Build the objective around the first encoder that it accepts, in train mode.

    The encoder is initialised from `seed`.
    """
    config = config_of(name, **overrides)
    materials = {
        key: make(material) for key, material in OBJECTIVES[name].materials(config).items()
    }
    offered, spec = backbones(name)
    facts = DataFacts(len(pictures()), spec, materials, transform_width=ImageViews.transform_width)
    refusals = []
    for backbone in offered:
        encoder = fresh(backbone, seed, spec)
        try:
            objective = objectives.build(config, encoder, facts)
        except ConfigError as refusal:
            refusals.append(str(refusal))
            continue
        return objective.to(dtype).train()
    raise AssertionError(f"{name} accepts no encoder: {refusals}")


def fresh(backbone: EncoderConfig, seed: int, spec: Spec | None = None) -> Encoder:
    """Build an encoder that no objective has changed, of images if nothing else is said."""
    torch.manual_seed(seed)
    return encoders.build(backbone, spec or Spec.image(SIZE))


def untrained(objective: Objective[Any], seed: int) -> Encoder:
    """Return the encoder as `objective_of` gave it to the objective, which may have changed it."""
    shape = objective.exported.state_dict().keys() - {"hidden_token"}
    offered, spec = backbones(objective.config.name)
    return next(
        actual
        for backbone in offered
        if (actual := fresh(backbone, seed, spec)).state_dict().keys() == shape
    )


@lru_cache(maxsize=1)
def pictures() -> Tensor:
    """Return scikit-learn's digits as `[1797, 3, SIZE, SIZE]` uint8."""
    digits = torch.tensor(load_digits().images, dtype=torch.float32).mul(255 / 16).unsqueeze(1)
    grown = torch.nn.functional.interpolate(digits, (SIZE, SIZE), mode="bilinear")
    return grown.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


@lru_cache(maxsize=1)
def sequences() -> Tensor:
    """Return the digits' pixels, line after line and each twice, `[1797, LENGTH, 1]`."""
    pixels = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1)
    return ((pixels - 8) / 8).repeat_interleave(2, dim=1).unsqueeze(2)


@lru_cache(maxsize=1)
def labels() -> Tensor:
    return torch.tensor(load_digits().target)


def batch_of(
    objective: Objective[Any],
    rows: int,
    *,
    step: int = 0,
    dtype: torch.dtype = torch.float32,
    start: int = 0,
    views: ImageViewsConfig = VIEWS,
) -> Batch:
    """Return the objective's views of `rows` digits from `start` on, as the trainer makes them."""
    index = torch.arange(start, start + rows) % len(pictures())
    if objective.config.name in OF_SEQUENCES:
        _, spec = backbones(objective.config.name)
        whole = SeriesViews(SeriesViewsConfig(), objective.needs, spec=spec)
        batch = whole({"series": sequences()[index]}, index, seed=0, step=step, global_batch=rows)
        return Batch([replace(view, data=view.data.to(dtype)) for view in batch], batch.index)
    make = ImageViews(views, objective.needs, image_size=SIZE)
    batch = make({"image": pictures()[index]}, index, seed=0, step=step, global_batch=rows)
    return Batch([replace(view, data=view.data.to(dtype)) for view in batch], batch.index)


def objective_and_batch(name: str, rows: int = 8, **overrides: Any) -> tuple[Objective[Any], Batch]:
    """Return the objective and a batch for it, both in float64."""
    objective = objective_of(name, dtype=torch.float64, **overrides)
    return objective, batch_of(objective, rows, dtype=torch.float64)


def loss_of(objective: Objective[Any], batch: Batch, step: int = 0) -> float:
    """Return the loss at one step, as a number."""
    return float(objective(batch, progress_at(step))["loss"].item())


def rows_of(batch: Batch, rows: slice | Tensor) -> Batch:
    """Return those rows of everything that a batch carries."""

    def part(view: Any) -> dict[str, Tensor]:
        values = {field.name: getattr(view, field.name) for field in fields(view)}
        return {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}

    return Batch([replace(view, **part(view)) for view in batch], batch.index[rows])


def progress_at(step: int) -> Progress:
    return Progress(step, TOTAL_STEPS)


def trained(
    objective: Objective[Any],
    batches: Iterable[Batch],
    *,
    lr: Callable[[int], float] = lambda step: 1e-3,
    total: int = TOTAL_STEPS,
) -> list[float]:
    """Take some optimizer steps, as the trainer does in a run of `total`; return the losses."""
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad])
    losses = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        progress = Progress(step, total)
        loss = objective(batch, progress)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        objective.after_step(progress)
        losses.append(loss.item())
    return losses
