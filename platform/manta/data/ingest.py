"""Ingest of any source into Parquet shards and a manifest, as a Ray Data job that can be resumed.

    units (listed while they are read) -> read + verify + shrink -> parcels -> shards ->
    manifest.json

The driver handles references and row counts, never an image. Where shards and row groups are cut
depends on the source and the limits alone, so the same source gives the same dataset on any cluster
and after any number of interruptions.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from manta.data._group_column import check_group, count_groups, refuse_no_group
from manta.data._ingest_job import IngestJob, IngestProgress, IngestReport, NamingProgress
from manta.data._label_column import stored_values
from manta.data._learning import learnt_of
from manta.data._measures import inspector_of, mark_of, modality_of, name_of, of_dataset
from manta.data._quarantine import write_quarantine
from manta.data._shards import Limits, Written
from manta.data.groups import in_order, write_groups
from manta.data.lengths import write_lengths
from manta.data.manifest import (
    FILE,
    Manifest,
    is_dataset,
    is_ingested,
    open_dataset,
    refuse_dataset,
)
from manta.data.sources import Source, SourceOptions, is_builtin, open_source
from manta.data.stream import Executor
from manta.data.understanding import (
    Understanding,
    by_reason,
    classes_of,
    refuse_empty,
    understand,
)
from manta.errors import DataError
from manta.failures import one_line_errors
from manta.files import Place
from manta.modalities import Learner, Modality, noun_of


def ingest(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: SourceOptions | None = None,
    max_side: int | None = 512,
    limits: Limits | None = None,
    modality: Modality[Any] | None = None,
    progress: IngestProgress | None = None,
    executor: Executor = "ray",
) -> IngestReport:
    """Write the dataset `out` from `source`, or finish an interrupted ingest of it.

    Args:
        options: how the source is to be read where its layout leaves that open.
        max_side: larger images are stored as JPEG (quality 95) with this shorter side; None keeps
            every byte.
        limits: bounds of shards and row groups; the argument `max_side` overrides its own.
        modality: what a sample is, with its settings; None: what the source says.
        progress: called with rows and quarantined images so far.
        executor: "local" reads and writes in this process, one file after the other.

    Raises:
        DataError: the source cannot be read, every image in it is bad, or `out` holds something
            else, or `source` is a dataset already.
    """
    began = time.monotonic()
    refuse_dataset(source)
    place, adapter = Place.of(out), _opened(source, options)
    modality = modality_of(adapter, modality)
    bounds = Limits(**(asdict(limits or Limits()) | {"max_side": max_side}))
    identity = {
        "source": adapter.place.url,
        "kind": adapter.kind,
        "state": _state(adapter),
        "limits": asdict(bounds),
        "options": adapter.options.to_json(),
    } | ({} if mark_of(modality) == "image" else {"modality": mark_of(modality)})
    inspector = inspector_of(modality, bounds)
    if isinstance(progress, NamingProgress):
        progress.noun = noun_of(name_of(modality)).plural
    learner = modality.learner() if modality is not None else None
    if is_dataset(place.url):
        finished = open_dataset(place.url)
        _refuse_other(place, finished.options, identity)
        return _report(finished, began, finished.rows)
    done = _committed(place, identity)
    resumed = sum(item.shard.rows for item in done)
    if progress and done:
        progress(resumed, sum(len(item.bad) for item in done))
    with one_line_errors(f"the ingest of {adapter.place.url}"):
        job = IngestJob(adapter, inspector, bounds, executor, progress)
        done += job.write(place, done)
    manifest = _finish(place, job, learner, identity, done, name_of(modality))
    return _report(manifest, began, resumed)


def survey(
    source: str | os.PathLike[str],
    *,
    options: SourceOptions | None = None,
    modality: Modality[Any] | None = None,
    progress: IngestProgress | None = None,
    executor: Executor = "ray",
) -> Understanding:
    """Return what an ingest would understand of a source, reading all of it and writing nothing.

    Raises:
        DataError: as `ingest`.
    """
    if is_ingested(source):
        return open_dataset(source).understanding
    adapter = _opened(source, options)
    kind = modality_of(adapter, modality)
    with one_line_errors(f"the survey of {adapter.place.url}"):
        inspector = inspector_of(kind, Limits())
        counted = IngestJob(adapter, inspector, Limits(), executor, progress).survey()
    refuse_empty(adapter, counted.rows, counted.bad, counted.example, name_of(kind))
    numbering, names = classes_of(adapter, counted.labels)
    refuse_no_group(adapter, counted.groups, counted.path)
    bad = dict(counted.bad)
    return understand(adapter, counted.rows, numbering, names, bad, counted.groups, name_of(kind))


def prepare(
    source: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    progress: IngestProgress | None = None,
    *,
    options: SourceOptions | None = None,
    modality: Modality[Any] | None = None,
) -> str:
    """Return the location of the dataset for `source`, ingesting it under `cache_dir` if needed.

    A `source` that is a dataset already is its own location.
    """
    location = prepared(source, cache_dir, options=options, modality=modality)
    if is_dataset(location):
        return location
    return ingest(source, location, options=options, modality=modality, progress=progress).location


def check_source(source: str | os.PathLike[str], options: SourceOptions | None = None) -> None:
    """Refuse a source on a local disk that is not there, before anything is started for it.

    Raises:
        DataError: there is nothing, or nothing that an adapter can read.
    """
    text = os.fspath(source)
    if not is_builtin(text) and Place.of(text).is_local and not is_dataset(text):
        adapter = _opened(text, options)
        if adapter.kind == "folder":
            next(adapter.units(), None)  # refuses a folder without a file; lists the first few


def prepared(
    source: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    *,
    options: SourceOptions | None = None,
    modality: Modality[Any] | None = None,
) -> str:
    """Return the location at which `prepare` puts the dataset, whether or not it exists yet.

    The folder's name contains a hash of the source's URL, of its state (`Source.identity`) and of
    the options, so that a changed source is ingested again.
    """
    text = os.fspath(source)
    if is_ingested(text):
        return Place.of(text).url
    adapter = open_source(text, options)
    modality = modality_of(adapter, modality)
    said = adapter.options.to_json()
    told = "" if said == SourceOptions().to_json() else f"\n{said}"
    if mark_of(modality) != "image":
        told += f"\n{mark_of(modality)}"
    key = f"{adapter.place.url}\n{_state(adapter)}{told}"
    mark = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
    stem = "".join(
        letter if letter.isalnum() or letter in "-_" else "-" for letter in adapter.place.name
    ).strip("-")
    return (Place.of(cache_dir) / f"{stem[:60] or adapter.kind}-{mark}.manta").url


def _opened(source: str | os.PathLike[str], options: SourceOptions | None) -> Source:
    adapter = open_source(source, options)
    check_group(adapter)
    return adapter


def _state(source: Source) -> str:
    return _hashed(source.identity())


def _hashed(identity: list[Any]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _refuse_other(out: Place, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Check that a folder was begun from the same source with the same limits.

    Raises:
        DataError: it was not.
    """
    before, now = _flat(theirs), _flat(ours)
    for key, value in now.items():
        if before[key] != value:
            raise DataError(
                f"{out.url} was made with {key} {before[key]}, not {value}; give another folder or "
                "remove it"
            )
    if theirs.get("state") not in (ours["state"], _earlier_state(theirs, ours)):
        raise DataError(
            f"{ours['source']} changed since {out.url} was begun; give another folder or remove it"
        )


def _earlier_state(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """Return the state of a source as earlier versions took it, of datasets that they have begun.

    They looked at the folder or the list itself alone.
    """
    if "options" in theirs:
        return None
    return _hashed(list(Place(ours["source"]).identity()))


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must agree between two attempts at an ingest, by name."""
    # Datasets of earlier versions have no options, or not all of them.
    options = asdict(SourceOptions()) | (identity.get("options") or {})
    return {
        "source": identity.get("source"),
        "kind": identity.get("kind"),
        **identity["limits"],
        **options,
        "modality": identity.get("modality", "image"),
    }


def _committed(out: Place, identity: dict[str, Any]) -> list[Written]:
    """Return the records of the shards that an interrupted ingest has committed.

    Only those before the first gap count: several shards are written at a time. A new or empty
    folder is marked as this ingest's.

    Raises:
        DataError: the folder holds something else.
    """
    marker = out / "ingest.json"
    if not marker.exists():
        if out.exists() and (not out.is_dir() or next(out.entries(), None) is not None):
            raise DataError(f"{out.url} exists and is not a Manta dataset; give a new folder")
        (out / "progress").make()
        marker.write(json.dumps(identity).encode())
        return []
    _refuse_other(out, json.loads(marker.read()), identity)
    (out / "progress").make()
    present = {name for name, _ in (out / "progress").entries()}
    done: list[Written] = []
    while (name := f"{len(done):05d}.json") in present:
        record = Written.from_json((out / "progress" / name).read())
        if record is None:
            break  # of an earlier version: this shard and what follows are written again
        done.append(record)
    return done


def _finish(
    out: Place,
    job: IngestJob,
    learner: Learner | None,
    identity: dict[str, Any],
    done: list[Written],
    kind: str,
) -> Manifest:
    """Write the quarantine and the manifest; return the manifest."""
    # The manifest comes last of all files: a folder that has one is a complete dataset.
    source = job.source
    bad = [row for item in done for row in item.bad]
    rows = sum(item.shard.rows for item in done)
    write_quarantine(out, bad)
    reasons = by_reason(reason for _, reason in bad)
    refuse_empty(source, rows, reasons, bad[0] if bad else None, kind)
    counts = sum((Counter(item.labels) for item in done), Counter[str]())
    numbering, names = classes_of(source, counts)
    runs = in_order(item.groups or [(None, item.shard.rows)] for item in done)
    groups = count_groups(runs)
    refuse_no_group(source, groups, None)
    if groups:
        write_groups(out, runs)
    if kind != "image":
        write_lengths(out, len(done), rows)
    understood = understand(source, rows, numbering, names, dict(reasons), groups, kind)
    manifest = Manifest(
        location=out.url,
        rows=rows,
        labelled=sum(numbering.rows) > 0,
        classes=names,
        shards=[item.shard for item in done if item.shard.rows],
        **of_dataset(done, job.inspector, kind),
        source=source.place.url,
        kind=source.kind,
        quarantined=len(bad),
        digest=hashlib.sha256("".join(item.digest for item in done).encode()).hexdigest(),
        bytes=sum(item.shard.bytes for item in done),
        options=identity,
        values=stored_values(numbering.values, counts),
        labelled_rows=sum(numbering.rows),
        understood=understood.to_json(),
        groups=len(groups),
    )
    if learner is not None:
        with one_line_errors(f"the ingest of {source.place.url}"):
            learnt = learnt_of(manifest, learner, job.executor)
        manifest = replace(manifest, stats={**manifest.stats, **learnt})
    (out / FILE).write(manifest.to_json().encode())
    # After the manifest: a kill in between leaves some needless files, not a dataset to redo.
    (out / "progress").remove()
    out.sweep()
    return manifest


def _report(manifest: Manifest, began: float, resumed: int) -> IngestReport:
    return IngestReport(
        location=manifest.location,
        rows=manifest.rows,
        quarantined=manifest.quarantined,
        shards=len(manifest.shards),
        digest=manifest.digest,
        seconds=time.monotonic() - began,
        resumed_rows=resumed,
        understood=manifest.understanding if manifest.understood else None,
    )
