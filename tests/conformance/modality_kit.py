"""Tiny samples of each modality, and objectives around tiny encoders of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from objective_kit import config_of, material_path

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.config import from_mapping
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.modalities import Modality
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.series import Series, SeriesConfig
from manta.modalities.text import Text, TextConfig
from manta.objectives import OBJECTIVES, Objective
from manta.ragged import Data, Leaves, Ragged, rows_of

ROWS, CHANNELS = 8, 2
LENGTHS = (40, 9, 33, 12, 7, 25, 18, 40)
"""Of the windows, in values."""
SENTENCES = (
    "a bird sings",
    "the old clock on the wall has stopped at noon",
    "rain",
    "two ships pass at night",
    "who was there first?",
    "she counts the stars and he counts the hours",
    "snow on the roof",
    "nothing to report",
)


@dataclass(frozen=True)
class Samples:
    """What the methods are tried on.

    Attributes:
        modality: with its settings.
        rows: `ROWS` decoded rows, of unequal lengths.
        encoders: in the order in which a method is offered them.
    """

    modality: Callable[[], Modality[Any]]
    rows: Callable[[], Leaves]
    encoders: tuple[EncoderConfig, ...]


def windows(lengths: tuple[int, ...] = LENGTHS) -> Series:
    """Return the modality of windows of these lengths."""
    measures = {"length": (min(lengths), max(lengths)), "channels": (CHANNELS, CHANNELS)}
    stats = {name: {"least": least, "most": most} for name, (least, most) in measures.items()}
    return Series(SeriesConfig(source="x"), stats)


def walks(lengths: tuple[int, ...] = LENGTHS) -> Leaves:
    """Return windows of noise; a tensor where they are equally long."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(sum(lengths), CHANNELS, generator=generator)
    if len(set(lengths)) == 1:
        return {"series": values.view(len(lengths), -1, CHANNELS)}
    return {"series": Ragged(values, torch.tensor(lengths))}


def tones() -> Leaves:
    """Return clips of 0.1 to 0.6 s: tones of several pitches in noise."""
    lengths = torch.linspace(400, 2400, ROWS).long()
    seconds = torch.cat([torch.arange(int(length)) / 4000 for length in lengths])
    pitch = torch.repeat_interleave(torch.linspace(100, 1500, ROWS), lengths)
    noise = torch.randn(len(seconds), generator=torch.Generator().manual_seed(0))
    wave = 0.3 * torch.sin(2 * torch.pi * pitch * seconds) + 0.02 * noise
    return {"audio": Ragged(wave, lengths)}


def clips() -> Audio:
    """Return the modality of clips, as spectrograms of 32 bands and 32 frames."""
    return Audio(AudioConfig(source="x", sample_rate=4000, seconds=0.31, mels=32), {})


@cache
def sentences() -> Text:
    """Return the modality of sentences, whose tokens are single bytes."""
    return Text(TextConfig(source="x", tokens=24), {})


def tokens() -> Leaves:
    """Return the tokens of `SENTENCES`."""
    decoder = sentences().decoder()
    rows = [torch.from_numpy(decoder(one.encode(), None)["text"].copy()) for one in SENTENCES]
    return {"text": Ragged(torch.cat(rows), torch.tensor([len(row) for row in rows]))}


RESNET_1D = EncoderConfig(name="resnet1d", args={"widths": [8, 16]})
PATCHTST = EncoderConfig(
    name="patchtst", args={"dim": 16, "depth": 2, "heads": 2, "patch": 5, "dropout": 0.0}
)
RESNET = EncoderConfig(name="test_resnet")
VIT = EncoderConfig(
    name="vit_tiny_patch16_224",
    args={"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8, "global_pool": "avg"},
)
# Dropout is drawn by each rank for itself.
TRANSFORMER = EncoderConfig(
    name="transformer", args={"dim": 16, "depth": 2, "heads": 2, "dropout": 0.0}
)
SAMPLES = {
    "series": Samples(windows, walks, (RESNET_1D, PATCHTST)),
    "audio": Samples(clips, tones, (RESNET, VIT)),
    "text": Samples(sentences, tokens, (TRANSFORMER,)),
}


def objective_of(
    name: str, samples: Samples, dtype: torch.dtype = torch.float64, **overrides: Any
) -> Objective[Any]:
    """Build the objective around the first encoder that it accepts, in train mode."""
    spec, config = samples.modality().spec, config_of(name, **overrides)
    given = OBJECTIVES[name].materials(config).items()
    materials = {key: material_path(one) for key, one in given}
    facts = DataFacts(ROWS, spec, materials, transform_width=10)
    refusals = []
    for backbone in samples.encoders:
        torch.manual_seed(0)
        try:
            objective = objectives.build(config, encoders.build(backbone, spec), facts)
        except ConfigError as refusal:
            refusals.append(str(refusal))
            continue
        return objective.to(dtype).train()
    raise AssertionError(f"{name} accepts no encoder: {refusals}")


def batch_of(
    samples: Samples,
    objective: Objective[Any],
    which: slice = slice(0, ROWS),
    step: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Return the views of some rows, made by whoever has these rows alone."""
    modality = samples.modality()
    views = modality.views(views_of(modality.name), objective.needs)
    data, index = rows_of(samples.rows(), which), torch.arange(ROWS)[which]
    batch = views(data, index, seed=0, step=step, rows=which, global_batch=ROWS)
    return Batch([replace(view, data=as_type(view.data, dtype)) for view in batch], batch.index)


@cache
def views_of(modality: str) -> Any:
    """Return the default settings of a modality's views."""
    data = {"source": "x", "modality": modality}
    return from_mapping({"data": data, "objective": {"name": "simclr"}}).views


def as_type(data: Data, dtype: torch.dtype) -> Data:
    """Return numbers of another type; those of tokens stay."""
    if isinstance(data, Ragged):
        values = data.values
        return Ragged(values.to(dtype) if values.is_floating_point() else values, data.lengths)
    assert isinstance(data, torch.Tensor)
    return data.to(dtype)
