"""Preparation of an objective's materials, by the driver, before training.

materials/teacher/      a model's folder (ModelMaterial)
materials/clusters.npy  a table with one number per sample (ClusterMaterial, ColumnMaterial)
materials/clusters-model/, clusters-features.parquet/    sources of the table, until it is complete

A run keeps its own copy, so that a resume uses the same materials even if an alias has moved to
another model since.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from manta.config import Experiment
from manta.data import Manifest
from manta.data.read import read_labels
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError
from manta.files import Place, copy_file
from manta.materials.clusters import assign_clusters
from manta.models.actors import PoolRequest, cluster_pool
from manta.models.find import model_folder
from manta.objectives import ClusterMaterial, ColumnMaterial, ModelMaterial
from manta.runs.folder import RunFolder
from manta.runs.materials import FOLDER, INDEX, model_here, required
from manta.runs.store import Notify
from manta.serving.embed import embed
from manta.serving.job import Pool
from manta.tracking import Tracker

BLOCK = 65_536
"""Rows whose labels are read at a time."""
_FEATURES, _MODEL = "{}-features.parquet", "{}-model"


def prepare_materials(
    experiment: Experiment,
    manifest: Manifest,
    folder: RunFolder,
    tracker: Tracker,
    *,
    runs: str,
    notify: Notify,
) -> None:
    """Make the required materials that the folder lacks; for clusters, Ray must be connected.

    Raises:
        MantaError: there is no such model or column, or too few rows for the clusters.
    """
    source = _Source(experiment, manifest, folder, tracker, runs, notify)
    for name, material in required(experiment).items():
        table = f"{name}.npy"
        if isinstance(material, ModelMaterial):
            _keep_model(material, source, name)
        elif folder.exists(FOLDER, table):
            _tidy(folder, name)
        elif isinstance(material, ColumnMaterial):
            _check_column(manifest, material.column)
            with _new_table(folder, table, np.int64, manifest.rows) as numbers:
                _read_labels(manifest, numbers)
                if (labelled := int((numbers >= 0).sum())) < manifest.rows:
                    notify(f"{name}: {labelled:,} of {manifest.rows:,} rows have a label")
        else:
            features = _features(material, source, name)
            with _new_table(folder, table, np.int32, manifest.rows) as clusters:
                assign_clusters(features, material, clusters)
            _tidy(folder, name)
        # The index comes after the material: other trials of a study copy what it lists.
        folder.update_json({name: str(material)}, FOLDER, INDEX)


@contextmanager
def _new_table(
    folder: RunFolder, name: str, kind: type[np.integer[Any]], rows: int
) -> Iterator[npt.NDArray[Any]]:
    """Yield a table `[rows]` to fill, on disk rather than in memory.

    It appears in the folder when the block ends without an error.
    """
    target = folder.at(FOLDER, name)
    target.parent.make()
    target.parent.sweep()
    with target.writing() as file:
        table = np.lib.format.open_memmap(file.name, mode="w+", dtype=kind, shape=(rows,))
        yield table
        table.flush()


def _tidy(folder: RunFolder, name: str) -> None:
    """Remove the sources of a table, which nobody needs once the table exists."""
    for source in (_FEATURES.format(name), _MODEL.format(name)):
        if folder.exists(FOLDER, source):
            folder.remove(FOLDER, source)


def _check_column(manifest: Manifest, column: str) -> None:
    if column != "label" or not manifest.labelled:
        has = "'label'" if manifest.labelled else "no labels at all"
        raise ConfigError(
            f"the objective wants the column {column!r} and the ingested dataset holds {has}"
        )


def _read_labels(manifest: Manifest, table: npt.NDArray[np.int64]) -> None:
    for start in range(0, manifest.rows, BLOCK):
        rows = np.arange(start, min(start + BLOCK, manifest.rows))
        table[rows] = [
            -1 if value is None or value < 0 else value
            for value in read_labels(manifest, rows) or []
        ]


@dataclass(frozen=True, slots=True)
class _Source:
    """Everything that materials are made from, and the run's folder."""

    experiment: Experiment
    manifest: Manifest
    folder: RunFolder
    tracker: Tracker
    runs: str
    notify: Notify


def _keep_model(material: ModelMaterial | ClusterMaterial, source: _Source, name: str) -> None:
    """Copy a model into the run's folder, unless it is there.

    Its description is copied last, so that a folder with a description is complete.
    """
    if source.folder.exists(FOLDER, name, DESCRIPTION):
        return
    if source.folder.exists(FOLDER, name):
        source.folder.remove(FOLDER, name)
    with _model(material, source) as model:
        files = [file for file in model.iterdir() if file.is_file()]
        for file in sorted(files, key=lambda path: path.name == DESCRIPTION):
            copy_file(Place.of(file), source.folder.at(FOLDER, name, file.name))


def _model(
    material: ModelMaterial | ClusterMaterial, source: _Source
) -> AbstractContextManager[Path]:
    if material.model is not None:
        return model_folder(material.model, source.tracker, source.runs)
    from manta.materials.autoencoder import trained_autoencoder

    source.notify("training an autoencoder for the pseudo-classes")
    return trained_autoencoder(source.experiment, source.manifest, seed=material.seed)


def _features(material: ClusterMaterial, source: _Source, name: str) -> str:
    """Embed every row by a Ray Data job; return the folder of embeddings.

    It continues where an earlier attempt stopped. The model is the run's own copy, since an alias
    may have moved, and a second training gives a different autoencoder.
    """
    manifest, folder, model = source.manifest, source.folder, material.model or "autoencoder"
    if material.clusters > manifest.rows:
        raise ConfigError(
            f"{material.clusters} clusters of {manifest.rows:,} rows: lower the number of clusters"
        )
    _keep_model(material, source, _MODEL.format(name))
    source.notify(f"embedding {manifest.rows:,} rows by {model} for the pseudo-classes")
    out = folder.url_of(FOLDER, _FEATURES.format(name))
    embed(model, model_here(folder, _MODEL.format(name)), manifest.location, out, pool=_pool())
    return out


def _pool() -> Pool:
    pool, free = cluster_pool(), ray.available_resources().get("GPU", 0.0)
    return fit_to_gpus(pool, free) or cluster_pool(PoolRequest(gpus=0.0))


def fit_to_gpus(pool: Pool, free: float) -> Pool | None:
    """Return the pool with as many actors as the free GPUs allow; None if they suffice for none.

    A tuning trial must not wait for GPUs: those in use are held by itself and other trials, and the
    wait could last for ever.
    """
    if not pool.gpus:
        return pool  # it needs none
    least = min(pool.least, int(free // pool.gpus))
    return replace(pool, least=least) if least else None
