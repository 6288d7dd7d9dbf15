"""Features of every row of a dataset: a Ray Data job over a pool of actors, chunk by chunk, each
written once.

OUT.parquet/                 a folder that pandas, PyArrow, DuckDB and Ray Data read as one table
  part-00000012.parquet      index, path, embedding of the rows of chunk 12; appears whole or not at all
  .part-00000012.parquet.*   a part that is being written, which those readers skip
  _job.json                  what is embedded by what, written first: a second start goes on with the same job only
  _unreadable.parquet        rows that do not decode any more, with the reason
  _manifest.json             rows, model, dataset; written last

Pixels never travel: an actor reads, decodes and embeds its chunk, and the driver hears how many
rows that were. What a kill leaves behind are whole parts and hidden drafts: a second start embeds
the chunks that have none, and sweeps.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from manta.data import open_dataset
from manta.data.arrays import RowIndexes
from manta.data.decode import BadImage, decode
from manta.data.engine import hush
from manta.data.read import read_rows
from manta.errors import ConfigError, DataError
from manta.files import Place
from manta.memory import keep_freed_memory
from manta.serving._parts import (
    Aside,
    Batch,
    numbers_in,
    part_name,
    read_footer,
    row_groups,
    write_part,
)

JOB, MANIFEST, UNREADABLE = "_job.json", "_manifest.json", "_unreadable.parquet"
MOST_CHUNKS = 16_384
"""Parts of a job, however large: a listing of them stays small."""
LEAST_CHUNK = 2_048
"""Rows of a chunk at least; it has more from 33 million rows on. A kill costs each actor the chunk
that it is at."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Pool:
    """The actors of a job.

    Attributes:
        least, most: how many; Ray Data grows and shrinks the pool between them.
        gpus: of each actor, which may be a fraction.
        cpus: logical, of each actor.
        threads: that decode, in each actor; torch has as many of its own.
        batch: images that go through the encoder at a time.
    """

    least: int = 1
    most: int = 1
    gpus: float = 0.0
    cpus: float = 1.0
    threads: int = 2
    batch: int = 256


@dataclass(frozen=True, slots=True)
class Job:
    """What is embedded by what. Equal jobs have equal outputs.

    Attributes:
        model: as the user named it, with its version where it has one.
        weights: SHA-256 of the encoder's folder.
        dataset: location of the ingested dataset; `digest` is its manifest's.
        rows: how many are embedded.
        chunk: rows of a part.
        selection: SHA-256 of the rows' numbers; None: all rows of the dataset.
        layer: submodule whose output is taken, averaged over positions; None: the pooled embedding.
        precision: "float32" or "bf16", of the encoder.
    """

    model: str
    weights: str
    dataset: str
    digest: str
    rows: int
    chunk: int
    layer: str | None = None
    precision: str = "float32"
    selection: str | None = None

    @property
    def parts(self) -> int:
        """How many files there are in the end."""
        return -(-self.rows // self.chunk)


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What a job left: rows written in all, by this start, and set aside; width of an embedding;
    seconds of work."""

    out: str
    rows: int
    embedded_now: int
    unreadable: int
    width: int
    job: dict[str, Any] = field(default_factory=dict)


def embed(
    model: str,
    encoder_folder: str | Path,
    dataset: str,
    out: str,
    *,
    pool: Pool | None = None,
    layer: str | None = None,
    precision: str = "float32",
    rows: RowIndexes | None = None,
    progress: Progress = lambda _done, _rows: None,
) -> EmbedReport:
    """Embed `dataset` with the encoder in `encoder_folder` into `out`; goes on where an equal job
    stopped.

    Ray must be connected. The folder's files travel to the actors, so no disk need be shared but
    the dataset's and `out`'s.

    Args:
        rows: numbers of those that are embedded, ascending; None: all.

    Raises:
        ConfigError: `out` holds another job's embeddings, or there is no such layer.
        DataError: the dataset cannot be read, or parts went missing meanwhile.
    """
    import ray

    manifest = open_dataset(dataset)
    files = _files(encoder_folder)
    count = manifest.rows if rows is None else len(rows)
    selection = None if rows is None else hashlib.sha256(rows.tobytes()).hexdigest()
    chunk = max(LEAST_CHUNK, -(-count // MOST_CHUNKS))
    weights = weights_of(encoder_folder)
    job = Job(model, weights, dataset, manifest.digest, count, chunk, layer, precision, selection)
    place = Place.of(out)
    _claim(place, job)
    have = set(numbers_in(place))
    todo = [number for number in range(job.parts) if number not in have]
    done = count - sum(_rows_of(job, number) for number in todo)
    progress(done, count)
    pool = pool or Pool()
    before = done
    if todo:
        _load(files, layer)  # a wrong layer is said here, not by an actor
        for written in _run((ray.put(files), ray.put(rows)), todo, place.url, job, pool):
            done += written
            progress(done, count)
    return _finish(place, job, embedded_now=done - before)


def weights_of(encoder_folder: str | Path) -> str:
    """SHA-256 of a saved encoder: equal where weights, architecture and preprocessing are."""
    return hashlib.sha256(
        b"".join(name.encode() + data for name, data in _files(encoder_folder).items())
    ).hexdigest()


def read_manifest(out: str) -> dict[str, Any]:
    """The manifest of finished embeddings.

    Raises:
        DataError: there is none.
    """
    place = Place.of(out) / MANIFEST
    if not place.exists():
        raise DataError(
            f"{out} holds no finished embeddings; `manta embed MODEL --data SOURCE --out {out}` makes them"
        )
    return dict(json.loads(place.read()))


def read_embeddings(out: str) -> Iterator[pa.Table]:
    """Its parts in the order of rows: `index: int64, path: string, embedding:
    fixed_size_list<float>`."""
    for number in parts_of(out):
        yield part_table(out, number)


def parts_of(out: str) -> list[int]:
    """Numbers of the parts that are there, ascending."""
    return numbers_in(Place.of(out))


def part_table(out: str, number: int) -> pa.Table:
    """One part, as `read_embeddings` gives it."""
    with (Place.of(out) / part_name(number)).open() as file:
        return pq.read_table(io.BytesIO(file.read()))


def part_groups(out: str, number: int) -> Iterator[pa.Table]:
    """One part a row group at a time, which takes little memory however large the part; without the
    paths."""
    return row_groups(Place.of(out), number, ["index", "embedding"])


def _claim(place: Place, job: Job) -> None:
    """The job's own folder, or a new or empty one: a kill before the claim is written leaves the
    folder alone."""
    claim = place / JOB
    if claim.exists():
        theirs = json.loads(claim.read())
        # The same data may lie elsewhere by now: the digest says what they are.
        said = {key: value for key, value in asdict(job).items() if key not in ("model", "dataset")}
        differing = [key for key, value in said.items() if theirs.get(key) != value]
        if differing:
            raise ConfigError(
                f"{place.url} holds embeddings of another job ({', '.join(differing)} differ); choose another --out, "
                "or delete it"
            )
        return
    if place.exists() and (not place.is_dir() or next(place.entries(), None) is not None):
        raise ConfigError(
            f"{place.url} exists and holds no embeddings of Manta's; choose another --out"
        )
    place.make()
    with claim.writing() as file:
        file.write(json.dumps(asdict(job), indent=1).encode())


def _files(folder: str | Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()
    }


def _run(stored: tuple[Any, Any], todo: list[int], out: str, job: Job, pool: Pool) -> Iterator[int]:
    """Rows of each chunk as it is written, in whatever order."""
    import ray
    from ray.data import ActorPoolStrategy

    tasks = ray.data.from_items(
        [{"chunk": number} for number in todo], override_num_blocks=len(todo)
    )
    hush(tasks.context)
    strategy = ActorPoolStrategy(
        min_size=min(pool.least, len(todo)),
        max_size=min(pool.most, len(todo)),
        max_tasks_in_flight_per_actor=2,
    )
    written = tasks.map_batches(
        Embedder,
        fn_constructor_kwargs={"stored": stored, "out": out, "job": job, "pool": pool},
        compute=strategy,
        num_cpus=None if pool.gpus else pool.cpus,
        num_gpus=pool.gpus or None,
        batch_size=1,
    )
    for row in written.iter_rows():
        yield int(row["rows"])


class Embedder:
    """An actor: chunk numbers in, parts written, row counts out.

    Args:
        stored: the encoder's files and the selected rows (None: all), each as it is or in the
            object store.
    """

    def __init__(self, stored: tuple[Any, Any], out: str, job: Job, pool: Pool) -> None:
        import ray
        import torch

        torch.set_num_threads(pool.threads)
        keep_freed_memory()  # each batch asks for the activations of the one before
        self.job, self.pool, self.place = job, pool, Place(out)
        self.manifest = open_dataset(job.dataset)
        self.device = torch.device("cuda" if pool.gpus and torch.cuda.is_available() else "cpu")
        files, rows = (ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in stored)
        self.rows: RowIndexes | None = rows
        self.features, self.size = _load(files, job.layer)
        self.features.to(self.device, memory_format=torch.channels_last)
        self.decoders = ThreadPoolExecutor(pool.threads, thread_name_prefix="decode")
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")

    def __call__(self, batch: dict[str, npt.NDArray[np.int64]]) -> dict[str, list[int]]:
        return {"rows": [self.write(int(number)) for number in batch["chunk"]]}

    def write(self, number: int) -> int:
        """Embed and write a chunk; returns its rows, the unreadable ones included."""
        here = slice(number * self.job.chunk, min((number + 1) * self.job.chunk, self.job.rows))
        rows = np.arange(here.start, here.stop) if self.rows is None else self.rows[here]
        write_part(self.place / part_name(number), self.features.width, self._batches(rows))
        return len(rows)

    def _batches(self, rows: RowIndexes) -> Iterator[Batch]:
        cuts = [
            rows[start : start + self.pool.batch] for start in range(0, len(rows), self.pool.batch)
        ]
        upcoming = self.reader.submit(self._read, cuts[0])
        for cut in range(len(cuts)):
            read = upcoming.result()
            if cut + 1 < len(cuts):
                upcoming = self.reader.submit(
                    self._read, cuts[cut + 1]
                )  # decoded while the encoder works
            yield Batch(read.index, read.paths, self._embed(read.images), read.aside)

    def _read(self, rows: npt.NDArray[np.int64]) -> _Decoded:
        encoded = read_rows(self.manifest, rows, paths=True)
        paths = encoded.paths or []
        images = np.empty((len(rows), 3, self.size, self.size), dtype=np.uint8)

        def one(place: int) -> str | None:
            try:
                images[place] = decode(encoded.data[place], self.size).transpose(2, 0, 1)
            except BadImage as error:
                return str(error)
            return None

        reasons = list(self.decoders.map(one, range(len(rows))))
        good = [place for place, reason in enumerate(reasons) if reason is None]
        aside = [
            (int(rows[i]), paths[i], reason)
            for i, reason in enumerate(reasons)
            if reason is not None
        ]
        kept = images if len(good) == len(rows) else images[good]
        return _Decoded(rows[good], [paths[place] for place in good], kept, aside)

    def _embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        import torch

        if not len(images):
            return np.empty((0, self.features.width), dtype=np.float32)
        tensor = torch.from_numpy(images).to(self.device, non_blocking=True)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"),
        ):
            found: npt.NDArray[np.float32] = self.features(tensor).float().cpu().numpy()
        return found


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Rows that decode, and those that do not."""

    index: npt.NDArray[np.int64]
    paths: list[str]
    images: npt.NDArray[np.uint8]
    aside: Aside


def _load(files: dict[str, bytes], layer: str | None) -> tuple[Any, int]:
    """The module from decoded images to features, and the side that images are decoded to."""
    from manta.serving._layers import FeatureReader
    from manta.serving.export import load_exported

    with tempfile.TemporaryDirectory(prefix="manta-encoder-") as scratch:
        for name, data in files.items():
            (Path(scratch) / name).write_bytes(data)
        exported = load_exported(scratch)
    return FeatureReader(exported, layer), exported.preprocess.resize


def _finish(place: Place, job: Job, *, embedded_now: int) -> EmbedReport:
    """The manifest, if every part is there."""
    rows, width = 0, 0
    aside: Aside = []
    with ThreadPoolExecutor(16) as readers:
        for footer in readers.map(partial(read_footer, place), range(job.parts)):
            if footer is not None:
                rows, width = rows + footer.rows, footer.width
                aside += footer.aside
    if (missing := job.rows - rows - len(aside)) != 0:
        raise DataError(
            f"{place.url}: {missing:,} rows whose parts are missing; run the command again"
        )
    place.sweep()
    listed = pa.table(
        {
            "index": pa.array([one[0] for one in aside], pa.int64()),
            "path": pa.array([one[1] for one in aside], pa.string()),
            "reason": pa.array([one[2] for one in aside], pa.string()),
        }
    )
    if aside:
        with (place / UNREADABLE).writing() as file:
            pq.write_table(listed, file)
    facts = asdict(job) | {"embedded": rows, "unreadable": len(aside), "width": width}
    with (place / MANIFEST).writing() as file:
        file.write(json.dumps(facts, indent=1).encode())
    return EmbedReport(place.url, rows, embedded_now, len(aside), width, asdict(job))


def _rows_of(job: Job, number: int) -> int:
    return min((number + 1) * job.chunk, job.rows) - number * job.chunk
