"""`manta.embed` and `manta.explore`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manta.api.arguments import PathLike, data_word, model_word
from manta.api.display import as_html, as_text
from manta.api.reporting import reporting

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Embeddings:
    """A table of embeddings; path-like, as its folder.

    Attributes:
        folder: path or URL of the Parquet files; `pandas.read_parquet` reads it as one table.
        rows: N, how many images were embedded.
        width: D, numbers of an embedding.
        unreadable: images that do not decode; `_unreadable.parquet` in the folder says why.
        embedded_now: rows that this call embedded; fewer than N where it went on.
        job: what was embedded by what: model, digest of the data, layer, precision.
    """

    folder: str
    rows: int
    width: int
    unreadable: int
    embedded_now: int = 0
    job: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def open(cls, folder: PathLike) -> Embeddings:
        """Return embeddings that were written before.

        Raises:
            DataError: there are none that are finished.
        """
        from manta.files import Place
        from manta.serving.embeddings import read_manifest

        place = os.fspath(folder)
        facts = read_manifest(place)
        rows, width, aside = facts["embedded"], facts["width"], facts["unreadable"]
        return cls(Place.of(place).url, rows, width, aside, 0, facts)

    def array(self) -> npt.NDArray[np.float32]:
        """Return all embeddings, `[N, D]` float32 in the order of rows; they are read into memory.

        Raises:
            DataError: a part cannot be read.
        """
        import numpy as np

        from manta.serving.embeddings import read_embeddings

        parts = [
            part["embedding"].combine_chunks().values.to_numpy().reshape(-1, self.width)
            for part in read_embeddings(self.folder)
            if len(part)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.width), dtype=np.float32)

    @property
    def table(self) -> pd.DataFrame:
        """All rows, read into memory.

        Returns:
            A data frame with the columns `index` (row of the dataset, int64), `path`, and
            `embedding` (`[D]` float32); `group` too where the data have groups.
        """
        import pyarrow as pa

        from manta.serving.embeddings import read_embeddings

        frame: pd.DataFrame = pa.concat_tables(read_embeddings(self.folder)).to_pandas()
        return frame

    def explore(self, *, page: PathLike | None = None, images: int = 2_000) -> Path:
        """Write a page to look at the embeddings, and return its path; as `manta.explore`."""
        return explore(self, page=page, images=images)

    def __fspath__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        return as_text("Embeddings", self._rows())

    def _repr_html_(self) -> str:
        return as_html("Embeddings", self._rows())

    def _rows(self) -> list[tuple[str, Any]]:
        aside = f"{self.unreadable:,} (see _unreadable.parquet)" if self.unreadable else None
        return [
            ("rows", f"{self.rows:,} of {self.width} numbers"),
            ("set aside", aside),
            ("model", self.job.get("model")),
            ("folder", self.folder),
        ]


def embed(
    model: PathLike,
    data: PathLike,
    out: PathLike,
    *,
    layer: str | None = None,
    precision: Literal["float32", "bf16"] = "float32",
    batch: int = 256,
    actors: int | None = None,
    max_actors: int | None = None,
    gpus: float | None = None,
    runs: PathLike = "manta-runs",
    progress: bool = True,
) -> Embeddings:
    """Embed images into a table of index, path and embedding, and return it.

    A Ray Data job over any number of processes. When it is killed in the middle, the same call goes
    on: every row is written once.

    Args:
        model: as `manta.evaluate` takes it.
        data: whatever `manta.ingest` takes, or an ingested dataset.
        out: folder or URL to write, such as `photos.parquet`.
        layer: a layer's output, averaged over positions, such as "layer3"; None: the embedding.
        precision: of the encoder.
        batch: images that go through the encoder at a time.
        actors: processes at least; None: one a GPU, or one a machine without.
        max_actors: processes at most, on a cluster that grows.
        gpus: of a process, may be a fraction; None: 1 where there are GPUs.
        runs: folder or URL that holds the runs.
        progress: whether notes and bars are shown.

    Returns:
        The finished embeddings.

    Raises:
        ConfigError: `out` holds something else, or there is no such layer.
        DataError: the data cannot be read.
        ResourceError: a process wants more GPUs than there are.
        RunError: there is no such model.
    """
    from manta.models.actors import PoolRequest
    from manta.models.embed import embed_data

    with reporting(progress) as reporter:
        report = embed_data(
            model_word(model, runs, reporter.notify),
            data_word(data, reporter.notify),
            os.fspath(out),
            runs=os.fspath(runs),
            layer=layer,
            precision=precision,
            pool=PoolRequest(batch, actors, max_actors, gpus),
            notify=reporter.notify,
            ingest_progress=reporter.ingest,
            progress=reporter.embed,
        )
    return Embeddings(
        report.out, report.rows, report.width, report.unreadable, report.embedded_now, report.job
    )


def explore(embeddings: PathLike, *, page: PathLike | None = None, images: int = 2_000) -> Path:
    """Write a page to look at embeddings, and return its path.

    The page is one offline file: a map with the images behind it, nearest neighbours and clusters.

    Args:
        embeddings: what `manta.embed` returned, or its folder.
        page: the file to write; None: beside the embeddings, or here if those are on a store.
        images: on the page, drawn from all rows.

    Raises:
        DataError: there are no finished embeddings, or the data have changed since.
    """
    from manta.files import Place
    from manta.report.explore import write_explorer

    word = os.fspath(embeddings).rstrip("/")
    folder = Place.of(word).url if word.startswith(("~", "file:")) else word
    stem = folder.removesuffix(".parquet")
    beside = f"{stem.rsplit('/', 1)[-1] if '://' in stem else stem}.html"
    target = Path(beside if page is None else page)
    target = Path(Place.of(target).url) if str(target).startswith("~") else target
    return write_explorer(folder, target, images=images)
