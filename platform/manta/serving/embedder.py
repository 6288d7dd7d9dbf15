"""Actor that reads, decodes and embeds chunks of rows, and writes their part files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.data import open_dataset
from manta.data.arrays import RowIndexes, as_tensors
from manta.data.groups import group_names
from manta.data.read import read_rows
from manta.files import Place
from manta.leaves import Columns, Stack, row_count, take
from manta.memory import keep_freed_memory
from manta.modalities import BadSample, Decoder
from manta.serving._parts import Aside, EmbeddedRows, part_name, write_part
from manta.serving.job import Job, Pool


class Embedder:
    """Actor that takes chunk numbers, writes their parts and returns row counts.

    Args:
        stored: the encoder's files and the selected rows (None: all), each as a value or as a
            reference into the object store.
        out: URL of the folder of embeddings.
    """

    def __init__(self, stored: tuple[Any, Any], out: str, job: Job, pool: Pool) -> None:
        import ray
        import torch

        torch.set_num_threads(pool.threads)
        keep_freed_memory()  # every batch allocates activations of the same sizes
        self.job, self.pool, self.place = job, pool, Place(out)
        self.manifest = open_dataset(job.dataset)
        self.device = torch.device("cuda" if pool.gpus and torch.cuda.is_available() else "cpu")
        files, rows = (ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in stored)
        self.rows: RowIndexes | None = rows
        self.features, self.decoder = load_features(files, job.layer)
        self.features.to(self.device, memory_format=torch.channels_last)
        # Threads suffice, since Pillow decodes without holding the interpreter's lock.
        self.decoders = ThreadPoolExecutor(pool.threads, thread_name_prefix="decode")
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")

    def __call__(self, batch: dict[str, npt.NDArray[np.int64]]) -> dict[str, list[int]]:
        return {"rows": [self.write(int(number)) for number in batch["chunk"]]}

    def write(self, number: int) -> int:
        """Embed and write a chunk; return its number of rows, including unreadable ones."""
        here = self.job.rows_of(number)
        rows = np.asarray(here) if self.rows is None else self.rows[here.start : here.stop]
        write_part(
            self.place / part_name(number),
            self.features.width,
            self._batches(rows),
            grouped=self.manifest.groups > 0,
        )
        return len(rows)

    def _batches(self, rows: RowIndexes) -> Iterator[EmbeddedRows]:
        starts = range(0, len(rows), self.pool.batch)
        cuts = [rows[start : start + self.pool.batch] for start in starts]
        upcoming = self.reader.submit(self._read, cuts[0])
        for cut in range(len(cuts)):
            read = upcoming.result()
            if cut + 1 < len(cuts):  # the next batch is decoded while the encoder works
                upcoming = self.reader.submit(self._read, cuts[cut + 1])
            vectors = self._embed(read.data)
            groups = group_names(self.manifest, read.index)
            yield EmbeddedRows(read.index, read.paths, vectors, read.aside, groups)

    def _read(self, rows: RowIndexes) -> _Decoded:
        encoded = read_rows(self.manifest, rows, paths=True)
        paths = encoded.paths or []
        stack = Stack(self.decoder.layout, len(rows))

        def decode_into(place: int) -> str | None:
            """Decode a row into `stack`; return the reason if that fails."""
            try:
                stack.put(place, self.decoder(encoded.data[place], None))
            except BadSample as error:
                return str(error)
            return None

        reasons = list(self.decoders.map(decode_into, range(len(rows))))
        good = [place for place, reason in enumerate(reasons) if reason is None]
        aside = [
            (int(rows[place]), paths[place], reason)
            for place, reason in enumerate(reasons)
            if reason is not None
        ]
        data = stack.columns(len(rows))
        kept = data if len(good) == len(rows) else take(data, np.array(good, dtype=np.int64))
        return _Decoded(rows[good], [paths[place] for place in good], kept, aside)

    def _embed(self, data: Columns) -> npt.NDArray[np.float32]:
        """Return `[N, D]` features of N decoded rows."""
        import torch

        from manta.ragged import moved

        if not row_count(data):
            return np.empty((0, self.features.width), dtype=np.float32)
        leaves = moved(as_tensors(data), self.device)
        lower = self.job.precision == "bf16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=lower),
        ):
            features: npt.NDArray[np.float32] = self.features(leaves).float().cpu().numpy()
        return features


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Rows that decode, and those that do not."""

    index: RowIndexes
    paths: list[str]
    data: Columns
    aside: Aside


def load_features(files: dict[str, bytes], layer: str | None) -> tuple[Any, Decoder]:
    """Return the module from decoded rows to features, and the decoder of those rows.

    Args:
        files: files of a saved encoder, by name.

    Raises:
        ConfigError: the encoder has no such layer.
    """
    from manta.serving._layers import FeatureReader
    from manta.serving.export import load_exported

    with tempfile.TemporaryDirectory(prefix="manta-encoder-") as scratch:
        for name, data in files.items():
            (Path(scratch) / name).write_bytes(data)
        exported = load_exported(scratch)
    return FeatureReader(exported, layer), exported.preprocess.decoder()
