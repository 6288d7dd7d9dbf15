"""Features of saved encoders on the rows that evaluators use: computed once by a pool of actors,
kept by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

from manta.data import Manifest, split_rows
from manta.data.read import decode_rows, read_labels, read_rows
from manta.errors import DataError
from manta.evaluation.online import (
    VIEW_BATCH,
    Augment,
    Rows,
    augmentation,
    chosen_rows,
    decoded,
    embed_views,
    read_alone,
)
from manta.evaluators import Bench, Features
from manta.files import Place
from manta.serving import ExportedEncoder
from manta.serving.embed import Pool, embed, read_embeddings, weights_of
from manta.views import ViewsConfig

FEATURES_VERSION = 1
"""Of what this code makes of a saved encoder and an image; a new one, and nothing that was kept is
read."""
Indexes = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """A folder with the embeddings of each encoder, of each choice of rows: what was embedded once
    is read.

    Attributes:
        root: its URL; every part of it may be deleted at any time.
        pool: the actors.
        progress: rows embedded, of how many.
    """

    root: str
    pool: Pool
    progress: Progress = lambda _done, _rows: None

    def features(
        self,
        folder: Path,
        exported: ExportedEncoder,
        learnt: Rows,
        asked: Rows,
        *,
        views: tuple[int, int] | None,
    ) -> Features:
        """Of the encoder saved in `folder`, which `exported` is.

        Args:
            views: as `assess` takes them.

        Raises:
            DataError: there are no rows, or none of them can be read any more.
        """
        splits = [
            (rows.manifest, split_rows(rows.plan, rows.split, rows.limit))
            for rows in (learnt, asked)
        ]
        if not all(len(rows) for _, rows in splits):
            raise DataError("there are no rows to evaluate on; give `manta evaluate` more data")
        weights = weights_of(folder)
        bank, queries = self._both(folder, weights, splits)
        return Features(
            bank.vectors,
            queries.vectors,
            bank.labels,
            queries.labels,
            None if views is None else self._views(weights, exported, asked, queries.index, views),
        )

    def _both(
        self, folder: Path, weights: str, splits: Sequence[tuple[Manifest, Indexes]]
    ) -> list[_Embedded]:
        """One job where both splits are of one dataset."""
        (manifest, learnt), (other, asked) = splits
        if manifest.digest != other.digest:
            return [self._embedded(folder, weights, *split).part(split[1]) for split in splits]
        rows = np.union1d(learnt, asked)
        together = self._embedded(folder, weights, manifest, rows)
        return [together.part(learnt), together.part(asked)]

    def _embedded(self, folder: Path, weights: str, manifest: Manifest, rows: Indexes) -> _Embedded:
        selection = hashlib.sha256(rows.tobytes()).hexdigest()
        out = f"{self._of(weights, manifest)}/{selection[:16]}.parquet"
        found = embed(
            weights,
            folder,
            manifest.location,
            out,
            pool=self.pool,
            rows=rows,
            progress=self.progress,
        )
        tables = [table for table in read_embeddings(out) if len(table)]
        if (
            found.unreadable
        ):  # mended data have the same digest: what is missing now may not be missing later
            place = Place.of(out)
            place.remove()
        if not tables:
            raise DataError(
                f"no row of {manifest.location} can be read any more; ingest {manifest.source} again"
            )
        index = np.concatenate([np.asarray(table["index"]) for table in tables])
        flat = [table["embedding"].combine_chunks().flatten().to_numpy() for table in tables]
        width = tables[0]["embedding"].type.list_size
        vectors = torch.from_numpy(np.concatenate(flat).reshape(-1, width))
        labels = read_labels(manifest, index)
        return _Embedded(index, vectors, None if labels is None else torch.tensor(labels))

    def _views(
        self,
        weights: str,
        exported: ExportedEncoder,
        asked: Rows,
        readable: Indexes,
        views: tuple[int, int],
    ) -> Tensor:
        """`[n, V, D]` of readable rows: made by this process, since the evaluators that want them
        want few."""
        selection = hashlib.sha256(readable.tobytes()).hexdigest()
        kept = (
            Place.of(self._of(weights, asked.manifest))
            / f"{selection[:16]}-views-{views[0]}x{views[1]}.safetensors"
        )
        if kept.exists():
            stored: dict[str, Tensor] = safetensors.torch.load(kept.read())
            return stored["views"]
        device = best_device()
        rows = split_rows(asked.plan, asked.split, asked.limit)[chosen_rows(asked, views[0])]
        rows = rows[np.isin(rows, readable)]
        if not len(rows):
            raise DataError(
                f"none of {views[0]} rows of {asked.manifest.location} can be read any more; ingest it again"
            )
        size = exported.preprocess.resize
        images = [
            (
                torch.from_numpy(
                    decode_rows(asked.manifest, part, read_rows(asked.manifest, part).data, size)
                ),
                part,
            )
            for part in np.array_split(rows, -(-len(rows) // VIEW_BATCH))
        ]
        encoder = exported.encoder.to(device)
        with torch.no_grad():
            parts = embed_views(
                {"": encoder},
                [(pixels, torch.from_numpy(part)) for pixels, part in images],
                augmenting(exported),
                views[1],
                device=device,
                numbers=count(),
            )
        found = torch.cat(parts[""])
        kept.parent.make()
        with kept.writing() as file:
            file.write(safetensors.torch.save({"views": found}))
        return found

    def _of(self, weights: str, manifest: Manifest) -> str:
        made_by = [
            f"{package} {version(package)}" for package in ("manta-ssl", "torch", "timm", "pillow")
        ]
        code = hashlib.sha256(f"{FEATURES_VERSION} {made_by}".encode()).hexdigest()
        return f"{self.root}/{weights[:16]}-{manifest.digest[:16]}-{code[:8]}"


@dataclass(frozen=True, slots=True)
class _Embedded:
    """Rows that could be read, ascending: numbers, `[N, D]` vectors, `[N]` labels or None."""

    index: Indexes
    vectors: Tensor
    labels: Tensor | None

    def part(self, rows: Indexes) -> _Embedded:
        """Those of some rows."""
        here = torch.from_numpy(np.flatnonzero(np.isin(self.index, rows, assume_unique=True)))
        return _Embedded(
            self.index[here.numpy()],
            self.vectors[here],
            None if self.labels is None else self.labels[here],
        )


def bench_of(exported: ExportedEncoder, learnt: Rows, asked: Rows) -> Bench:
    """For evaluators that try the encoder itself."""
    device, size = best_device(), exported.preprocess.resize
    read = partial(decoded, size=size, executor="ray")
    rows = partial(read_alone, read, {"bank": learnt, "queries": asked})
    exported.to(device)
    return Bench(exported.encoder, exported.preprocess.ready, size, device, rows)


def readable(rows: Rows, *, size: int, part: int = 64) -> Iterator[Tensor]:
    """uint8 `[part, 3, size, size]` of rows, in order, but for parts that hold a damaged one."""
    wanted = split_rows(rows.plan, rows.split, rows.limit)
    for here in np.array_split(wanted, -(-len(wanted) // part) or 1):
        with suppress(DataError):
            yield torch.from_numpy(
                decode_rows(rows.manifest, here, read_rows(rows.manifest, here).data, size)
            )


def augmenting(exported: ExportedEncoder) -> Augment:
    """SimCLR's views at the encoder's size, normalised as it wants."""
    stated = exported.preprocess.describe()
    return augmentation(
        ViewsConfig(mean=stated["mean"], std=stated["std"]), exported.preprocess.image_size
    )


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
