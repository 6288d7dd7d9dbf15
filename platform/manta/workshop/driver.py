"""What the driver offers to the materials that it makes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from manta.config import Experiment
from manta.data import Manifest
from manta.data.arrays import RowIndexes
from manta.data.read import read_labels
from manta.encoders.saved import DESCRIPTION
from manta.errors import ConfigError
from manta.files import Place, copy_file
from manta.materials import Column, PartWork, Result, RowWork
from manta.modalities import Modality
from manta.models.actors import PoolRequest, cluster_pool
from manta.models.find import model_folder
from manta.runs.folder import RunFolder
from manta.runs.materials import FOLDER, model_here
from manta.runs.store import Notify
from manta.serving.embed import embed
from manta.serving.job import Pool
from manta.tracking import Tracker
from manta.workshop.frames import LayerFrameReader, files_of
from manta.workshop.parts import over_parts
from manta.workshop.rows import over_rows

BLOCK = 65_536
"""Rows whose labels are read at a time."""
IDENTITY = "_identity.json"
"""File of a scratch folder that says of which material and data its files are."""
_FEATURES, _MODEL, _PARTS = "{}-features.parquet", "{}-model", "{}-parts"


@dataclass(frozen=True, slots=True)
class Supplies:
    """Everything that materials are made from, and the run's folder.

    Attributes:
        at_hand: folders of models that are open already, by the words for them.
    """

    experiment: Experiment
    manifest: Manifest
    folder: RunFolder
    tracker: Tracker
    runs: str
    notify: Notify
    at_hand: Mapping[str, Path] = field(default_factory=dict)

    def opened(self, model: str) -> AbstractContextManager[Path]:
        """Open the folder of a model, for a `with` block."""
        if (folder := self.at_hand.get(model)) is not None:
            return nullcontext(folder)
        return model_folder(model, self.tracker, self.runs)


class DriverWorkshop:
    """The workshop of one material, as `manta.materials.Workshop` describes it.

    Args:
        name: of the material; its sources lie in the run's folder under names that begin with it.
    """

    def __init__(self, name: str, supplies: Supplies) -> None:
        self.name, self._supplies = name, supplies
        self._folder, self._manifest = supplies.folder, supplies.manifest
        self.rows = supplies.manifest.rows

    @property
    def modality(self) -> Modality[Any]:
        return self._supplies.experiment.modality(self._manifest.stats)

    def notify(self, message: str) -> None:
        self._supplies.notify(message)

    def column(self, name: str) -> Iterator[Column]:
        if name != "label" or not self._manifest.labelled:
            has = "'label'" if self._manifest.labelled else "no labels at all"
            raise ConfigError(
                f"the objective wants the column {name!r} and the ingested dataset holds {has}"
            )
        return _labels(self._manifest)

    def keep_model(self, model: str, target: Place) -> None:
        _keep(self._supplies.opened(model), target)

    def features(
        self, model: str | None, *, layer: str | None = None, seed: int = 0, purpose: str
    ) -> str:
        # The model is the run's own copy, since an alias may have moved, and a second training
        # gives a different autoencoder.
        kept = self._model(model, seed, purpose)
        name = model or "autoencoder"
        self.notify(f"embedding {self.rows:,} rows by {name} for {purpose}")
        out = self._folder.url_of(FOLDER, _FEATURES.format(self.name))
        embed(name, kept, self._manifest.location, out, pool=_pool(), layer=layer)
        return out

    def over_parts(
        self, features: str, work: PartWork[Result], value: Any
    ) -> Iterator[tuple[int, Result]]:
        return over_parts(features, work, value)

    def over_rows(
        self,
        work: RowWork[Result],
        rows: RowIndexes,
        *,
        chunk: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[tuple[int, Result]]:
        chunks = {
            number: rows[start : start + chunk]
            for number, start in enumerate(range(0, len(rows), chunk))
            if number not in done
        }
        return over_rows(work, self._manifest.location, chunks, _pool())

    def layer_frames(self, model: str, layer: str | None) -> LayerFrameReader:
        files = files_of(self._model(model, 0, "frames"))
        return LayerFrameReader.of(files, layer, rate=self.modality.rate)

    def scratch(self, identity: str) -> Place:
        place = self._folder.at(FOLDER, _PARTS.format(self.name))
        stated = json.dumps([identity, self._manifest.digest]).encode()
        mark = place / IDENTITY
        if mark.exists() and mark.read() == stated:
            place.sweep()
            return place
        if place.exists():
            place.remove()
        place.make()
        mark.write(stated)
        return place

    def tidy(self) -> None:
        """Remove the sources of a material, which nobody needs once it is complete."""
        parts = _PARTS.format(self.name)
        for source in (_FEATURES.format(self.name), _MODEL.format(self.name), parts):
            if self._folder.exists(FOLDER, source):
                self._folder.remove(FOLDER, source)

    def _model(self, model: str | None, seed: int, purpose: str) -> Path:
        """Return the folder on this machine of the run's own copy of a model."""
        name = _MODEL.format(self.name)
        if not self._folder.exists(FOLDER, name, DESCRIPTION):
            if self._folder.exists(FOLDER, name):
                self._folder.remove(FOLDER, name)
            _keep(self._opened(model, seed, purpose), self._folder.at(FOLDER, name))
        return model_here(self._folder, name)

    def _opened(self, model: str | None, seed: int, purpose: str) -> AbstractContextManager[Path]:
        supplies = self._supplies
        if model is not None:
            return supplies.opened(model)
        from manta.workshop.autoencoder import trained_autoencoder

        self.notify(f"training an autoencoder for {purpose}")
        return trained_autoencoder(supplies.experiment, self._manifest, seed=seed)


def _keep(opened: AbstractContextManager[Path], target: Place) -> None:
    """Copy a model's files.

    Its description is copied last, so that a folder with a description is complete.
    """
    with opened as model:
        files = [file for file in model.iterdir() if file.is_file()]
        for file in sorted(files, key=lambda path: path.name == DESCRIPTION):
            copy_file(Place.of(file), target / file.name)


def _labels(manifest: Manifest) -> Iterator[Column]:
    for start in range(0, manifest.rows, BLOCK):
        rows = np.arange(start, min(start + BLOCK, manifest.rows))
        values = read_labels(manifest, rows) or []
        known = [-1 if value is None or value < 0 else value for value in values]
        yield rows, np.array(known, dtype=np.int64)


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
