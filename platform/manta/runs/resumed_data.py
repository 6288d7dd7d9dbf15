"""Data of a run or study that is resumed: those that it began with, whatever the source is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manta.data import IngestProgress, SourceOptions, is_dataset, open_dataset, prepare, prepared
from manta.errors import DataError, RunError
from manta.files import Place
from manta.modalities import Modality
from manta.runs.store import Notify


def prepare_resumed(
    source: str,
    cache: str,
    began: Mapping[str, Any],
    owner: str,
    notify: Notify,
    progress: IngestProgress | None = None,
    *,
    options: SourceOptions | None = None,
    modality: Modality[Any] | None = None,
) -> str:
    """Return the location of the dataset to go on with.

    It is the present one if it holds what `owner` began with. Otherwise it is the dataset of then,
    which is kept beside the runs, and that is said.

    Args:
        began: `dataset` and `digest` of then; without them the source is prepared as for a new run.
        modality: what a sample is; None: an image.
        owner: what is resumed, such as "run 'photos'", for the messages.

    Raises:
        RunError: the source has changed, and the dataset of then is gone.
        MantaError: anything else that the user can mend.
    """
    kept, digest = began.get("dataset"), began.get("digest")
    if not kept or not digest:
        return prepare(source, cache, progress, options=options, modality=modality)
    is_kept = _holds(kept, digest)
    try:
        present = prepared(source, cache, options=options, modality=modality)
    except DataError as error:
        # The source itself is gone, or cannot be read any more.
        if not is_kept:
            raise
        notify(f"{error}; {owner} goes on with the data that it began with, {kept}")
        return str(kept)
    if _holds(present, digest):
        return present
    # The name of a dataset tells the state of its source.
    if is_kept and Place.of(present).name == Place.of(kept).name:
        return str(kept)
    if is_kept:
        notify(
            f"{source} is not as it was when {owner} began, or read otherwise by this version: "
            f"going on with the data of then, {kept}"
        )
        return str(kept)
    present = prepare(source, cache, progress, options=options, modality=modality)
    if _holds(present, digest):
        return present
    raise RunError(
        f"{source} has changed since {owner} began, and the data of then are gone ({kept}); start "
        "another --name, or bring back either"
    )


def _holds(location: str, digest: str) -> bool:
    """Return whether a location is an ingested dataset of that digest."""
    try:
        return is_dataset(location) and open_dataset(location).digest == digest
    except DataError:
        return False
