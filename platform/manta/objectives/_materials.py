"""What a method needs before its first step: another model, clusters of the data, a column.

An objective names its materials by `Objective.materials`; the driver makes them (embedding the data
as a Ray Data job where that is what it takes), keeps them with the run, and every worker finds them
as files in `DataFacts.materials`.
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
    """The folder of an encoder that is there already; `manta.encoders.load_saved` reads it.

    Attributes:
        model: name of a run, `models:/name@alias` or `models:/name/version`, or a folder that
            `save_encoder` wrote.
    """

    model: str


@dataclass(frozen=True, slots=True)
class ClusterMaterial:
    """k-means of a model's features over the whole dataset: a table of `[rows]` int32, the cluster
    of each sample.

    Attributes:
        model: as `ModelMaterial.model`; None: a denoising autoencoder, trained for it on the data
            themselves.
        clusters: how many.
        seed: of the k-means.
    """

    model: str | None
    clusters: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ColumnMaterial:
    """Whole numbers that lie beside the samples: a table of `[rows]` int64, -1 where there is none.

    Attributes:
        column: of the ingested dataset.
    """

    column: str


Material = Union[ModelMaterial, ClusterMaterial, ColumnMaterial]  # noqa: UP007 (named in annotations at run time)


class SampleValues:
    """A table of one whole number a sample, read from its file by the samples' indexes as they
    come.

    Memory-mapped, so that a billion rows cost what is touched, once for all processes of a machine.
    """

    def __init__(self, path: Path) -> None:
        self.values = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Tensor:
        """`[B]` int64, on the device of `index`."""
        found = self.values[index.cpu().numpy()].astype(np.int64)
        return torch.from_numpy(found).to(index.device)
