"""Features of saved encoders on the rows that evaluators use.

They are computed once by a pool of actors, and kept by the content of weights and data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from manta.data import Manifest, RowIndexes
from manta.data.arrays import as_tensors
from manta.data.read import decode_rows, read_labels, read_rows
from manta.errors import DataError
from manta.evaluation.augmented import VIEW_BATCH, augmentation, chosen_rows, embed_views
from manta.evaluation.rows import (
    JointGroups,
    SplitRows,
    decoded,
    labels_tensor,
    most_classes,
    read_alone,
)
from manta.evaluators import EncoderAccess, Features
from manta.files import Place
from manta.modalities import Decoder
from manta.ragged import Leaves
from manta.serving import ExportedEncoder
from manta.serving.embed import EmbedProgress, embed, weights_of
from manta.serving.embeddings import read_embeddings
from manta.serving.job import Pool

FEATURES_VERSION = 1
"""Version of what this code makes of a saved encoder and an image; with a new one, nothing that was
kept is read."""


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Folder with the embeddings of each encoder on each selection of rows.

    What was embedded once is read again.

    Attributes:
        root: its URL; every part of it may be deleted at any time.
        pool: the actors that embed.
        progress: takes rows embedded, and of how many.
    """

    root: str
    pool: Pool
    progress: EmbedProgress = lambda _done, _rows: None

    def features(
        self,
        folder: Path,
        exported: ExportedEncoder,
        bank: SplitRows,
        queries: SplitRows,
        *,
        views: tuple[int, int] | None,
    ) -> Features:
        """Return the features of `exported`, which is saved in `folder`.

        Args:
            views: as `embed_splits` takes them.

        Raises:
            DataError: there are no rows, or none of them can be read any more.
        """
        splits = [(rows.manifest, rows.indexes) for rows in (bank, queries)]
        if not all(len(rows) for _, rows in splits):
            raise DataError("there are no rows to evaluate on; give `manta evaluate` more data")
        weights = weights_of(folder)
        of_bank, of_queries = self._both(folder, weights, splits)
        augmented = None
        if views is not None:
            augmented = self._views(weights, exported, queries, of_queries.index, views)
        return Features(
            of_bank.vectors,
            of_queries.vectors,
            None if of_bank.labels is None else bank.class_of(of_bank.labels),
            None if of_queries.labels is None else queries.class_of(of_queries.labels),
            augmented,
            most_classes(bank, queries),
            *JointGroups.of(bank, queries, of_bank.index, of_queries.index).fields,
        )

    def _both(
        self, folder: Path, weights: str, splits: Sequence[tuple[Manifest, RowIndexes]]
    ) -> list[_Embedded]:
        """Embed bank and queries: by one job where both are of one dataset."""
        (manifest, bank), (other, queries) = splits
        if manifest.digest != other.digest:
            return [self._embedded(folder, weights, *split).part(split[1]) for split in splits]
        together = self._embedded(folder, weights, manifest, np.union1d(bank, queries))
        return [together.part(bank), together.part(queries)]

    def _embedded(
        self, folder: Path, weights: str, manifest: Manifest, rows: RowIndexes
    ) -> _Embedded:
        """Return the embeddings of some rows, from the folder where they are kept."""
        out = f"{self._folder(weights, manifest)}/{_selection(rows)}.parquet"
        report = embed(
            weights,
            folder,
            manifest.location,
            out,
            pool=self.pool,
            rows=rows,
            progress=self.progress,
        )
        tables = [table for table in read_embeddings(out) if len(table)]
        if report.unreadable:
            # Mended data have the same digest: what is missing now may not be missing later.
            place = Place.of(out)
            place.remove()
        if not tables:
            raise DataError(
                f"no row of {manifest.location} can be read any more; "
                f"ingest {manifest.source} again"
            )
        index = np.concatenate([np.asarray(table["index"]) for table in tables])
        flat = [table["embedding"].combine_chunks().flatten().to_numpy() for table in tables]
        width = tables[0]["embedding"].type.list_size
        vectors = torch.from_numpy(np.concatenate(flat).reshape(-1, width))
        labels = read_labels(manifest, index)
        return _Embedded(index, vectors, None if labels is None else labels_tensor(labels))

    def _views(
        self,
        weights: str,
        exported: ExportedEncoder,
        queries: SplitRows,
        readable: RowIndexes,
        views: tuple[int, int],
    ) -> Tensor:
        """Return `[n, V, D]` of readable rows.

        They are made by this process, since the evaluators that require views require few.
        """
        folder = Place.of(self._folder(weights, queries.manifest))
        kept = folder / f"{_selection(readable)}-views-{views[0]}x{views[1]}.safetensors"
        if kept.exists():
            stored: dict[str, Tensor] = safetensors.torch.load(kept.read())
            return stored["views"]
        rows = queries.indexes[chosen_rows(queries, views[0])]
        rows = rows[np.isin(rows, readable)]
        if not len(rows):
            raise DataError(
                f"none of {views[0]} rows of {queries.manifest.location} can be read any more; "
                "ingest it again"
            )
        augmented = _embed_views(exported, queries.manifest, rows, views[1])
        kept.parent.make()
        with kept.writing() as file:
            file.write(safetensors.torch.save({"views": augmented}))
        return augmented

    def _folder(self, weights: str, manifest: Manifest) -> str:
        """Return the folder of an encoder's features on a dataset, by these versions of code."""
        made_by = [
            f"{package} {version(package)}" for package in ("manta-ssl", "torch", "timm", "pillow")
        ]
        code = hashlib.sha256(f"{FEATURES_VERSION} {made_by}".encode()).hexdigest()
        return f"{self.root}/{weights[:16]}-{manifest.digest[:16]}-{code[:8]}"


@dataclass(frozen=True, slots=True)
class _Embedded:
    """Rows that could be read, ascending.

    Attributes:
        index: `[N]` row numbers.
        vectors: `[N, D]`.
        labels: `[N]` as the data have them, -1 for none; None without labels.
    """

    index: RowIndexes
    vectors: Tensor
    labels: Tensor | None

    def part(self, rows: RowIndexes) -> _Embedded:
        """Return the part that holds `rows`."""
        here = torch.from_numpy(np.flatnonzero(np.isin(self.index, rows, assume_unique=True)))
        return _Embedded(
            self.index[here.numpy()],
            self.vectors[here],
            None if self.labels is None else self.labels[here],
        )


def _selection(rows: RowIndexes) -> str:
    """Return a name for a selection of rows."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def _embed_views(
    exported: ExportedEncoder, manifest: Manifest, rows: RowIndexes, views: int
) -> Tensor:
    """Return `[n, views, D]` of augmented views of some rows."""
    decoder, device = exported.preprocess.decoder(), default_device()
    batches = []
    for part in np.array_split(rows, -(-len(rows) // VIEW_BATCH)):
        data = decode_rows(manifest, part, read_rows(manifest, part).data, decoder)
        batches.append((as_tensors(data), torch.from_numpy(part)))
    encoder = exported.encoder.to(device)
    augment = augmentation(exported.preprocess)
    with torch.no_grad():
        parts = embed_views({"": encoder}, batches, augment, views, device=device, numbers=count())
    return torch.cat(parts[""])


def encoder_access(exported: ExportedEncoder, bank: SplitRows, queries: SplitRows) -> EncoderAccess:
    """Return what evaluators of the encoder itself need."""
    device, decoder = default_device(), exported.preprocess.decoder()
    read = partial(decoded, decoder=decoder, executor="ray")
    rows = partial(read_alone, read, {"bank": bank, "queries": queries})
    exported.to(device)
    preprocess = exported.preprocess
    return EncoderAccess(
        exported.encoder,
        preprocess.ready,
        image_side(decoder),
        device,
        rows,
        preprocess.modality,
        decoder,
    )


def image_side(decoder: Decoder) -> int:
    """Return the side of decoded images in pixels; 0 where the samples are no images."""
    leaf = decoder.layout.get("image")
    return 0 if leaf is None else leaf.inner[-1]


def readable_rows(rows: SplitRows, decoder: Decoder, *, part: int = 64) -> Iterator[Leaves]:
    """Yield decoded rows in parts of `part`, in order.

    Parts that hold a damaged row are left out.
    """
    indexes = rows.indexes
    for here in np.array_split(indexes, -(-len(indexes) // part) or 1):
        with suppress(DataError):
            encoded = read_rows(rows.manifest, here).data
            yield as_tensors(decode_rows(rows.manifest, here, encoded, decoder))


def default_device() -> torch.device:
    """Return CUDA's current device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
