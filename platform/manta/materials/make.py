"""What an objective needs before its first step, made by the driver and kept in the run's folder.

materials/teacher/      a model's folder (ModelMaterial)
materials/clusters.npy  a table of one number a sample (ClusterMaterial, ColumnMaterial)
materials/clusters-model/, clusters-features.parquet/    what the table is made from, until it is there

A run has its own copy, so that it resumes with what it started with, wherever an alias points by
then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayTaskError

from manta.config import Experiment
from manta.data import Manifest
from manta.data.engine import cluster_cpus, own_error
from manta.data.read import read_labels
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError, DataError
from manta.files import Place, copy_file
from manta.models.actors import PoolRequest, cluster_pool
from manta.models.find import model_folder
from manta.objectives import ClusterMaterial, ColumnMaterial, ModelMaterial
from manta.runs.folder import RunFolder
from manta.runs.materials import FOLDER, INDEX, model_here, required
from manta.runs.store import Notify
from manta.serving.embed import embed
from manta.serving.embeddings import part_groups, parts_of
from manta.serving.job import Pool
from manta.tracking import Tracker

FIT_ROWS = 200_000
"""Rows that centroids are fitted to, at most, spread over the data."""
BLOCK = 65_536
"""Rows at a time where all are gone through."""
Found = TypeVar("Found")
_FEATURES, _MODEL = "{}-features.parquet", "{}-model"


def provide(
    experiment: Experiment,
    manifest: Manifest,
    folder: RunFolder,
    tracker: Tracker,
    *,
    runs: str,
    notify: Notify,
) -> None:
    """Make what is not there yet. Ray must be connected where features are wanted.

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
        else:
            features = _features(material, source, name)
            with _new_table(folder, table, np.int32, manifest.rows) as clusters:
                assign(features, material, clusters)
            _tidy(folder, name)
        folder.update_json({name: str(material)}, FOLDER, INDEX)


@contextmanager
def _new_table(
    folder: RunFolder, name: str, kind: type[np.integer[Any]], rows: int
) -> Iterator[npt.NDArray[Any]]:
    """`[rows]` to be filled, on a disk and not in memory; in the folder when the block ends,
    whole."""
    target = folder.at(FOLDER, name)
    target.parent.make()
    target.parent.sweep()
    with target.writing() as file:
        table = np.lib.format.open_memmap(file.name, mode="w+", dtype=kind, shape=(rows,))
        yield table
        table.flush()


def _tidy(folder: RunFolder, name: str) -> None:
    """Remove what a table was made from."""
    for left in (_FEATURES.format(name), _MODEL.format(name)):
        if folder.exists(FOLDER, left):
            folder.remove(FOLDER, left)


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
            -1 if value is None else value for value in read_labels(manifest, rows) or []
        ]


@dataclass(frozen=True, slots=True)
class _Source:
    """What materials are made from, and where they are kept."""

    experiment: Experiment
    manifest: Manifest
    folder: RunFolder
    tracker: Tracker
    runs: str
    notify: Notify


def _keep_model(material: ModelMaterial | ClusterMaterial, source: _Source, name: str) -> None:
    """Copy the model into the run, if it is not there yet; its description last, which says that
    all of it is."""
    if source.folder.exists(FOLDER, name, DESCRIPTION):
        return
    if source.folder.exists(FOLDER, name):
        source.folder.remove(FOLDER, name)
    with _model(material, source) as found:
        files = [file for file in found.iterdir() if file.is_file()]
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
    """The folder of every row's embedding, made by a Ray Data job; an attempt goes on where another
    stopped.

    The model is the run's own copy: an alias may have moved since, and no autoencoder is trained
    alike twice.
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
    return fitting(pool, free) or cluster_pool(PoolRequest(gpus=0.0))


def fitting(pool: Pool, free: float) -> Pool | None:
    """`pool` on as many GPUs as are free; None where they are too few for an actor.

    A tuning trial that waits for GPUs which it and its like hold would wait forever.
    """
    if not pool.gpus:
        return pool
    least = min(pool.least, int(free // pool.gpus))
    return replace(pool, least=least) if least else None


Vectors = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]
Work = Callable[[Iterator[Vectors], Any], Found]


def assign(features: str, material: ClusterMaterial, table: npt.NDArray[np.int32]) -> None:
    """k-means (k-means++ and mini-batches) of normalised embeddings: fills `table [rows]` with each
    row's cluster.

    Ray tasks go through the parts twice; this process has a sample of the rows, and the numbers as
    they come.

    Args:
        features: folder that `embed` wrote.

    Raises:
        DataError: rows are missing.
    """
    from sklearn.cluster import MiniBatchKMeans

    sampled = dict(_over_parts(features, _sample, max(1, -(-len(table) // FIT_ROWS))))
    if (missing := len(table) - sum(rows for rows, _ in sampled.values())) != 0:
        raise DataError(
            f"{missing:,} rows do not decode any more and have no features; ingest again"
        )
    sample = np.concatenate([some for number in sorted(sampled) for some in sampled.pop(number)[1]])
    model = MiniBatchKMeans(
        material.clusters, random_state=material.seed, n_init=3, batch_size=4096
    ).fit(sample)
    for _, found in _over_parts(features, _nearest, model.cluster_centers_):
        for index, clusters in found:
            table[index] = clusters


def _over_parts(features: str, work: Work[Found], value: Any) -> Iterator[tuple[int, Found]]:
    """`(number, work(rows of the part, value))` of each part, in the order in which Ray tasks end;
    few run ahead."""
    # SPREAD leaves the placement group of a tuning trial, which holds no CPU.
    task = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(_over_part)
    shared = ray.put(value)
    numbers = iter(parts_of(features))
    ahead = max(2 * int(cluster_cpus()), 1)
    running = {
        task.remote(features, number, work, shared): number for number in islice(numbers, ahead)
    }
    while running:
        (ready,), _ = ray.wait(list(running))
        try:
            found = ray.get(ready)
        except RayTaskError as error:
            raise own_error(error) or error from None
        yield running.pop(ready), found
        running |= {
            task.remote(features, number, work, shared): number for number in islice(numbers, 1)
        }


def _over_part(features: str, number: int, work: Work[Found], value: Any) -> Found:
    return work((_vectors(table) for table in part_groups(features, number)), value)


def _sample(groups: Iterator[Vectors], every: int) -> tuple[int, list[npt.NDArray[np.float32]]]:
    """How many rows there are, and the normalised vectors of every so-many-th."""
    rows, some = 0, []
    for index, vectors in groups:
        rows += len(index)
        some.append(_unit(vectors[index % every == 0]))
    return rows, some


def _nearest(
    groups: Iterator[Vectors], centroids: npt.NDArray[np.float32]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
    """Rows and the numbers of their centroids."""
    from sklearn.metrics import pairwise_distances_argmin

    return [
        (index, pairwise_distances_argmin(_unit(vectors), centroids).astype(np.int32))
        for index, vectors in groups
        if len(index)
    ]


def _vectors(table: Any) -> Vectors:
    column = table["embedding"].combine_chunks()
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return np.asarray(table["index"]), flat.reshape(len(column), -1)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return scaled
