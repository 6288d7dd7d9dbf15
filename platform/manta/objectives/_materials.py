"""Inputs that a method needs before its first step: another model, clusters of the data, a column.

An objective names its materials by `Objective.materials`; the driver makes them (embedding the data
as a Ray Data job where that is needed), keeps them with the run, and every worker finds them as
files in `DataFacts.materials`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ModelMaterial:
    """The folder of an existing encoder; `manta.encoders.load_saved` reads it.

    Attributes:
        model: name of a run, `models:/name@alias` or `models:/name/version`, or a folder that
            `save_encoder` wrote.
    """

    model: str


@dataclass(frozen=True, slots=True)
class ClusterMaterial:
    """A table of `[rows]` int32, each sample's cluster by k-means of a model's features.

    Attributes:
        model: as `ModelMaterial.model`; None: a denoising autoencoder, trained on the data for
            this.
        clusters: number of clusters.
        seed: of the k-means.
    """

    model: str | None
    clusters: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ColumnMaterial:
    """A table of `[rows]` int64 from a column of the dataset, -1 where there is no value.

    Attributes:
        column: of the ingested dataset.
    """

    column: str


# A union at run time, which annotations that are evaluated need.
Material = Union[ModelMaterial, ClusterMaterial, ColumnMaterial]  # noqa: UP007


class SampleValues:
    """A table of one integer per sample, read from its file by sample index.

    It is memory-mapped, so that a billion rows cost what is touched, once for all processes of a
    machine.
    """

    def __init__(self, path: Path) -> None:
        self.values = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return `[B]` int64, on the device of `index`."""
        values = self.values[index.cpu().numpy()].astype(np.int64)
        return torch.from_numpy(values).to(index.device)
