"""Preparation of an objective's materials, by the driver, before training.

materials/teacher/      a model's folder
materials/clusters.npy  a table with one number per sample
materials/units/        sequences of numbers, one per sample
materials/clusters-model/, clusters-features.parquet/, units-parts/    sources, until it is complete

A run keeps its own copy, so that a resume uses the same materials even if an alias has moved to
another model since.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from manta.config import Experiment
from manta.data import Manifest
from manta.materials import Target
from manta.runs.folder import RunFolder
from manta.runs.materials import FOLDER, INDEX, is_complete, required
from manta.runs.store import Notify
from manta.tracking import Tracker
from manta.workshop.driver import DriverWorkshop, Supplies


def prepare_materials(
    experiment: Experiment,
    manifest: Manifest,
    folder: RunFolder,
    tracker: Tracker,
    *,
    runs: str,
    notify: Notify,
    at_hand: Mapping[str, Path] | None = None,
) -> None:
    """Make the required materials that the folder lacks; for Ray jobs, Ray must be connected.

    Args:
        at_hand: folders of models that are open already, by the words for them.

    Raises:
        MantaError: there is no such model or column, or too few rows for the clusters.
    """
    supplies = Supplies(experiment, manifest, folder, tracker, runs, notify, at_hand or {})
    materials = required(experiment)
    for name, material in materials.items():
        entry = material.entry(name)
        workshop = DriverWorkshop(name, supplies)
        if not is_complete(material, folder, name):
            if folder.exists(FOLDER, entry):  # what an attempt left that was killed
                folder.remove(FOLDER, entry)
            material.make(workshop, Target(name, folder.at(FOLDER, entry)))
        workshop.tidy()
        # The index comes after the material: other trials of a study copy what it lists.
        folder.update_json({name: repr(material)}, FOLDER, INDEX)
