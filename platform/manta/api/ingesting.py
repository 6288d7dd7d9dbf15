"""`manta.ingest`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from manta.api.arguments import Overrides, PathLike, data_word, override_words
from manta.api.display import as_html, as_text
from manta.api.reporting import reporting
from manta.errors import ConfigError

if TYPE_CHECKING:
    from manta.data import SourceOptions
    from manta.modalities import Modality


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
    overrides: Overrides = (),
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
        overrides: further settings of the section `data` of that modality, as a recipe has them:
            `{"data.window": 128}` for series, `{"data.encoding": "latin-1"}` for text.
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

    options, kind = settled_options(
        SourceOptions(split, column, labels, group, modality), overrides
    )
    with reporting(progress) as reporter:
        word = data_word(source, reporter.notify)
        refuse_dataset(word)
        check_source(word, options)
        connect()
        report = ingest_source(
            word,
            os.fspath(out),
            options=options,
            modality=kind,
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
    overrides: Overrides = (),
    progress: bool = True,
) -> list[str]:
    """Return lines on what `manta.ingest` would make of a source: read all, write nothing.

    Args:
        source, split, column, labels, group, modality, overrides, progress: as `manta.ingest`
            takes them.

    Raises:
        DataError: the source cannot be read, or has no image.
        ResourceError: Ray cannot be joined or started.
    """
    from manta.cluster import connect
    from manta.data import SourceOptions, check_source, is_ingested
    from manta.data import survey as survey_source

    options, kind = settled_options(
        SourceOptions(split, column, labels, group, modality), overrides
    )
    with reporting(progress) as reporter:
        word = data_word(source, reporter.notify)
        check_source(word, options)
        if not is_ingested(word):  # a dataset says what its ingest understood
            connect()
        return survey_source(
            word,
            options=options,
            modality=kind,
            progress=reporter.ingest,
        ).lines()


def settled_options(
    options: SourceOptions, overrides: Overrides
) -> tuple[SourceOptions, Modality[Any] | None]:
    """Return options with what overrides of the section `data` say, and the modality with it.

    Raises:
        ConfigError: an override is of something else, or it is not said what the samples are.
    """
    from manta.config import changed, from_mapping
    from manta.data import SourceOptions
    from manta.modalities import default_modality

    words = override_words(overrides)
    if not words:
        return options, default_modality(options.modality)
    other = next((word for word in words if not word.startswith("data.")), None)
    if other is not None:
        raise ConfigError(f"{other}: an ingest has settings of data alone, as data.column=text")
    if options.modality is None and not any(word.startswith("data.modality=") for word in words):
        raise ConfigError(f"{words[0]}: say what the samples are as well, as --modality text")
    data = {"source": "", "modality": options.modality or "image"}
    experiment = from_mapping({"data": data, "objective": {"name": "simclr"}})
    experiment, _ = changed(experiment, words)
    found = SourceOptions.of(experiment.data)
    given = {name: getattr(options, name) for name in ("split", "column", "labels", "group")}
    return (
        replace(found, **{name: value for name, value in given.items() if value is not None}),
        experiment.modality(),
    )
