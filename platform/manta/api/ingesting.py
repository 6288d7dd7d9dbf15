"""`manta.ingest`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from manta.api.arguments import PathLike, data_word
from manta.api.display import as_html, as_text
from manta.api.reporting import reporting


@dataclass(frozen=True, slots=True, repr=False)
class IngestedDataset:
    """Parquet shards and a manifest that training streams; path-like, as its folder.

    Attributes:
        folder: path or URL.
        rows: images that can be read.
        quarantined: files that cannot; `quarantine.parquet` in the folder says why.
        shards: Parquet files.
        digest: SHA-256 of the manifest: equal for equal data.
        seconds: that this call took.
        resumed_rows: of the rows, those that an earlier call had left.
        understood: lines on what the data are: images, classes, parts, what was left out.
    """

    folder: str
    rows: int
    quarantined: int
    shards: int
    digest: str
    seconds: float
    resumed_rows: int
    understood: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        return as_text("IngestedDataset", self._rows())

    def _repr_html_(self) -> str:
        return as_html("IngestedDataset", self._rows())

    def _rows(self) -> list[tuple[str, str | None]]:
        aside = f"{self.quarantined:,} (see quarantine.parquet)" if self.quarantined else None
        return [
            ("images", f"{self.rows:,} in {self.shards} shards"),
            ("set aside", aside),
            ("digest", self.digest[:12]),
            ("folder", self.folder),
        ]


def ingest(
    source: PathLike,
    out: PathLike,
    *,
    split: str | None = None,
    column: str | None = None,
    labels: str | None = None,
    group: str | None = None,
    modality: str | None = None,
    max_side: int | None = 512,
    progress: bool = True,
) -> IngestedDataset:
    """Turn images from anywhere into a dataset that training can stream, and return it.

    `manta.train` does so by itself at its first sight of a source. An interrupted ingest goes on
    where it stopped when it is called again.

    Args:
        source: a folder of images (sub-folders are classes), Parquet files, WebDataset tars, a list
            of files (.txt, .csv), or "digits"; patterns and URLs work too.
        out: folder or URL to write.
        split: part to read of a source in parts: "train", "val", "test", "unlabelled" or "all".
            None: the training part where there are several.
        column: column that holds the images, where a table has several.
        labels: column of the labels, "folders" (the first sub-folders) or "none". None: what the
            layout suggests.
        group: what rows belong together by, which holdout keeps whole: a column, "parent" (the
            folder of each file) or "regex:" and a pattern on its path, whose one group names it.
        modality: what the samples are: "image", "series" or another of `manta list modalities`.
            None: what the source is surely of, else images.
        max_side: pixels; images whose shorter side is longer are shrunk to it, as JPEG. None or 0
            keeps all as they are.
        progress: whether a counter is shown.

    Raises:
        DataError: the source cannot be read, has no image, or `out` holds something else.
        ResourceError: Ray cannot be joined or started.
    """
    from manta.cluster import connect
    from manta.data import SourceOptions, check_source, refuse_dataset
    from manta.data import ingest as ingest_source
    from manta.modalities import default_modality

    options = SourceOptions(split, column, labels, group, modality)
    with reporting(progress) as reporter:
        word = data_word(source, reporter.notify)
        refuse_dataset(word)
        check_source(word, options)
        connect()
        report = ingest_source(
            word,
            os.fspath(out),
            options=options,
            modality=default_modality(modality),
            max_side=max_side or None,
            progress=reporter.ingest,
        )
    return IngestedDataset(
        report.location,
        report.rows,
        report.quarantined,
        report.shards,
        report.digest,
        report.seconds,
        report.resumed_rows,
        tuple(report.understood.lines()) if report.understood else (),
    )


def survey(
    source: PathLike,
    *,
    split: str | None = None,
    column: str | None = None,
    labels: str | None = None,
    group: str | None = None,
    modality: str | None = None,
    progress: bool = True,
) -> list[str]:
    """Return lines on what `manta.ingest` would make of a source: read all, write nothing.

    Args:
        source, split, column, labels, group, modality, progress: as `manta.ingest` takes them.

    Raises:
        DataError: the source cannot be read, or has no image.
        ResourceError: Ray cannot be joined or started.
    """
    from manta.cluster import connect
    from manta.data import SourceOptions, check_source, is_ingested
    from manta.data import survey as survey_source
    from manta.modalities import default_modality

    options = SourceOptions(split, column, labels, group, modality)
    with reporting(progress) as reporter:
        word = data_word(source, reporter.notify)
        check_source(word, options)
        if not is_ingested(word):  # a dataset says what its ingest understood
            connect()
        return survey_source(
            word,
            options=options,
            modality=default_modality(modality),
            progress=reporter.ingest,
        ).lines()
